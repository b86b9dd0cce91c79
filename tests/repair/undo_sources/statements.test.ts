// Source rows are taken back by one statement a kind of change, and none where nothing changes.
import { expect, test } from 'vitest';
import { watchStatements } from '../../support/statements.js';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, leg, singleArtist, TUESDAY, useWriter } from '../../support/writer.js';

const writer = useWriter();

test.each([
  ['added', [leg('discogs', '1')], [leg('discogs', '1'), leg('bandcamp', 'b')], ['DELETE']],
  ['changed', [leg('discogs', '1')], [leg('discogs', '2')], ['UPDATE']],
  ['removed', [leg('discogs', '1'), leg('bandcamp', 'b')], [leg('discogs', '1')], ['INSERT']],
])('undoing a source that was %s', async (_, before, after, kinds) => {
  await writer.service([singleArtist(DILATE, { provenance: before })]);
  const sources = await writer.sources(DILATE);
  await writer.service([singleArtist(DILATE, { provenance: after })], { verifiedAt: TUESDAY });
  const statements = await watchStatements(writer.sql);

  await undo(writer.sql, await lastRun(writer.sql));

  expect(await statements()).toEqual(kinds.map((kind) => `library_identity_source ${kind}`));
  expect(await writer.sources(DILATE)).toEqual(sources);
});
