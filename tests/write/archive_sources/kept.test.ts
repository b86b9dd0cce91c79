// A source row is kept as it is, before it changes or goes: every column of it.
import { expect, test } from 'vitest';
import { arrayOf } from '../../support/composites.js';
import { DILATE, type Fields, MONDAY, SANGOMA, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

const SPOTIFY = {
  external_id: '0AiTwNtYX8m4uhfU7rJ8RD',
  method: 'name_variation',
  confidence: 0.95,
  boost_sources: 'discogs,wikidata',
  last_verified_at: MONDAY,
  notes: 'backfill',
};

async function archive(changes: Fields[]): Promise<number> {
  const { sql } = writer;
  const [row] = await sql<[{ kept: number }]>`
    select identity_sync_private.archive_sources(
      ${arrayOf(sql, 'source_change', changes)}, 41, 'a better guess'
    ) as kept`;
  return row.kept;
}

test.each(['changed', 'removed'])('every column of a row that is %s is kept', async (action) => {
  await writer.sql`
    insert into wxyc_schema.library_identity_source
    ${writer.sql({ library_id: DILATE, source: 'spotify', ...SPOTIFY })}`;

  expect(await archive([{ library_id: DILATE, source: 'spotify', external_id: 'another', action }])).toBe(1);

  expect(await writer.superseded(DILATE)).toEqual([
    { library_id: DILATE, source: 'spotify', action, ...SPOTIFY, superseded_reason: 'a better guess' },
  ]);
  expect(await writer.sql`select settlement_id::integer from identity_sync.superseded_source`).toMatchObject([
    { settlement_id: 41 },
  ]);
});

test('of a row that is added, that is gone or that belongs to another library, none is', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)]);

  const kept = await archive([
    { library_id: DILATE, source: 'discogs', action: 'changed' },
    { library_id: DILATE, source: 'spotify', action: 'inserted' },
    { library_id: DILATE, source: 'bandcamp', action: 'removed' },
  ]);

  expect(kept).toBe(1);
  expect(await writer.superseded(DILATE)).toMatchObject([{ source: 'discogs' }]);
  expect(await writer.superseded(SANGOMA)).toEqual([]);
});
