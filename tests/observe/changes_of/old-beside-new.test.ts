// What the writer changed, each column old beside new.
import { expect, test } from 'vitest';
import { DILATE } from '../../support/verdicts.js';
import { leg, MONDAY, singleArtist, TUESDAY, useWriter, WEDNESDAY } from '../../support/writer.js';

const writer = useWriter();

const changes = async () =>
  await writer.sql`
    select kind, words, changes from identity_sync_private.changes_of(${DILATE}) order by at, kind desc`;

test('of a first identity there is nothing old', async () => {
  await writer.service([singleArtist(DILATE)]);
  expect(await changes()).toMatchObject([{ kind: 'identified', changes: [] }]);
});

test('an id that changes, a source that goes and one that comes, in one event', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
  const next = singleArtist(DILATE, {
    main: { discogs_artist_id: 11443 },
    provenance: [leg('discogs', '11443'), leg('wikidata', 'Q1')],
  });
  await writer.service([next], { verifiedAt: TUESDAY });

  const [, changed] = await changes();
  expect(changed!.kind).toBe('changed');
  expect(changed!.changes).toEqual([
    { row: 'identity', column: 'discogs_artist_id', old: 11442, new: 11443 },
    { row: 'identity', column: 'spotify_id', old: '0AiTwNtYX8m4uhfU7rJ8RD', new: null },
    { row: 'discogs', column: 'external_id', old: '11442', new: '11443' },
    { row: 'spotify', column: 'external_id', old: '0AiTwNtYX8m4uhfU7rJ8RD', new: null },
    { row: 'spotify', column: 'method', old: 'name_variation', new: null },
    { row: 'spotify', column: 'confidence', old: 0.95, new: null },
    { row: 'wikidata', column: 'external_id', old: null, new: 'Q1' },
    { row: 'wikidata', column: 'method', old: null, new: 'exact_match' },
    { row: 'wikidata', column: 'confidence', old: null, new: 1 },
  ]);
});

test('what a change made new is what the next one finds old, and a release leaves nothing', async () => {
  for (const [id, verifiedAt] of [
    [1, MONDAY],
    [2, TUESDAY],
    [3, WEDNESDAY],
  ] as const) {
    const verdict = singleArtist(DILATE, {
      main: { discogs_artist_id: id },
      provenance: [leg('discogs', String(id))],
    });
    await writer.service([verdict], { verifiedAt });
  }
  await writer.sql`select identity_sync.release_identity(${DILATE}, 'wrong homonym')`;
  const main = (await changes()).map(({ words, changes: columns }) => [
    words,
    columns
      .filter(
        ({ column, row }: { column: string; row: string }) =>
          row === 'identity' && column === 'discogs_artist_id',
      )
      .map(({ old, new: became }: { old: unknown; new: unknown }) => `${old} → ${became}`)
      .join(),
  ]);
  expect(main).toEqual([
    ['first identity', ''],
    [expect.any(String), '1 → 2'],
    [expect.any(String), '2 → 3'],
    ['wrong homonym', '3 → null'],
  ]);
});
