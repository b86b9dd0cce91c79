// Undoing names the columns of ours alone, and issues no statement that touches a row it did not mean.
import { expect, test } from 'vitest';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, ERASER, leg, singleArtist, TUESDAY, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('a column that another writer filled before the run stays as it is', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.sql`update wxyc_schema.library_identity set discogs_release_id = 7, agreement_sources = 'discogs'`;
  await writer.service([singleArtist(DILATE, { confidence: 0.96 })], { verifiedAt: TUESDAY });

  await undo(writer.sql, await lastRun(writer.sql));

  expect(await writer.identity(DILATE)).toMatchObject({
    discogs_release_id: 7,
    agreement_sources: 'discogs',
    confidence: 0.97,
  });
});

test('a source row of another writer stays, beside an identity that goes', async () => {
  await writer.sql`
    insert into wxyc_schema.library_identity_source
      (library_id, source, external_id, method, confidence, last_verified_at, notes)
    values (${DILATE}, 'backfill', '1', 'manual', 1, now(), 'backfill')`;
  const before = await writer.sources(DILATE);
  await writer.service([singleArtist(DILATE, { provenance: [leg('discogs', '1'), leg('bandcamp', 'b')] })]);

  await undo(writer.sql, await lastRun(writer.sql));

  expect(await writer.identity(DILATE)).toBeUndefined();
  expect(await writer.sources(DILATE)).toEqual(before);
});

test('identities of other runs are not touched', async () => {
  await writer.service([singleArtist(ERASER)]);
  const [version] = await writer.sql`select xmin::text from wxyc_schema.library_identity`;
  await writer.service([singleArtist(DILATE)]);
  await undo(writer.sql, await lastRun(writer.sql));
  expect(await writer.sql`select xmin::text from wxyc_schema.library_identity`).toEqual([version]);
});
