// A trigger may drop a change of the sources of an identity that is there, without a word.
import { expect, test } from 'vitest';
import { DILATE, leg, reported, singleArtist, TUESDAY, useWriter } from '../../support/writer.js';

const writer = useWriter();

const discogs = leg('discogs', '11442');
const spotify = leg('spotify', '7', { confidence: 0.93 });

test.each([
  ['insert', [discogs, spotify, leg('wikidata', 'Q1')]],
  ['update', [leg('discogs', '5'), spotify]],
  ['delete', [discogs]],
])('where it drops an %s, the whole verdict is refused', async (event, provenance) => {
  await writer.service([singleArtist(DILATE, { provenance: [discogs, spotify] })]);
  await writer.sql.unsafe(`
    create function station.drop_quietly() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger drop_quietly before ${event} on wxyc_schema.library_identity_source
    for each row execute function station.drop_quietly();`);
  const before = await writer.sources(DILATE);

  const report = await writer.service([singleArtist(DILATE, { provenance })], { verifiedAt: TUESDAY });

  expect(report).toEqual(reported({ rows_skipped: { writer_error: 1 } }));
  expect(await writer.sources(DILATE)).toEqual(before);
  expect(await writer.sql`select from identity_sync.superseded_source`).toHaveLength(0);
});
