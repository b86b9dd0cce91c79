// A main row is kept as it is, before it changes: every column of it, and every version.
import { beforeEach, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  NEW_AMERYKAH,
  SANGOMA,
  singleArtist,
  TUESDAY,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

beforeEach(async () => {
  await writer.service([singleArtist(DILATE)]);
});

test('every column of a main row is kept', async () => {
  const { sql } = writer;
  const full = {
    ...(await writer.identity(DILATE)),
    discogs_master_id: 7,
    discogs_release_id: 8,
    musicbrainz_release_group_mbid: 'f32fab67-77dd-3937-addc-9062e28e4c37',
    musicbrainz_release_mbid: '1e477f68-c407-4eae-ad01-518528cedc2c',
    musicbrainz_recording_mbid: 'fcbcdc39-8851-4efc-a02a-ab0e13be224f',
    wikidata_qid: 'Q232462',
    apple_music_id: '3627568',
    musicbrainz_artist_id: 'a7bdc71f-697a-45d9-92b2-a01fbbe50272',
    bandcamp_id: 'anidifranco',
    agreement_sources: 'discogs,spotify',
  };
  await sql`update wxyc_schema.library_identity set ${sql(full)}`;

  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

  expect(await writer.history(DILATE)).toMatchObject([full]);
});

test('the chain of versions lacks none', async () => {
  for (const discogs_artist_id of [1, 2, 2, 3, 1]) {
    await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id })], { verifiedAt: TUESDAY });
  }

  expect(await writer.history(DILATE)).toMatchObject(
    [11442, 1, 2, 3].map((discogs_artist_id) => ({ discogs_artist_id })),
  );
  expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 1 });
});

test('several are kept in the order of their ids, those without a main row not at all', async () => {
  await writer.service([singleArtist(SANGOMA), singleArtist(ERASER)]);

  const [{ kept }] = await writer.sql<[{ kept: number[] }]>`
    select identity_sync_private.archive_identities(
      ${[SANGOMA, NEW_AMERYKAH, ERASER, DILATE]}::integer[], 'a better guess', 'release'
    ) as kept`;

  const rows = await writer.sql`
    select library_id, superseded_reason, reason_category from wxyc_schema.library_identity_history
    where history_id = any (${kept}) order by history_id`;
  const why = { superseded_reason: 'a better guess', reason_category: 'release' };
  expect([...rows]).toEqual([DILATE, ERASER, SANGOMA].map((library_id) => ({ library_id, ...why })));
});

test('where none has a main row, no version is kept, and that is a list', async () => {
  const [{ kept }] = await writer.sql<[{ kept: number[] }]>`
    select identity_sync_private.archive_identities(array[${SANGOMA}]::integer[], 'a better guess', 'release') as kept`;
  expect(kept).toEqual([]);
});
