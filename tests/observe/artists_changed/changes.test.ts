// Who was taken for whom: an id that is another one than before, and nothing less.
import { expect } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { singleArtist, withMain } from '../../support/verdicts.js';

test('shows each change of artist with its run, and no id that came or went', async ({
  database: { sql },
}) => {
  const [moved, gained, released] = await shelveAll(sql, 'Stereolab', 'Autechre', 'Sessa');
  const ids = [moved, gained, released];
  const apply = async (verdicts: object[]) => {
    const runId = await plan(sql, { ids, scope: 'ids' });
    const { batch_id } = await claim(sql, runId);
    await settle(sql, batch_id, { body: answerOf(verdicts) });
    return Number(runId);
  };
  const same = ids.map((id) => singleArtist(id));
  await apply(same);
  const second = await apply([
    withMain(same[0]!, { discogs_artist_id: 4711 }),
    withMain(same[1]!, { musicbrainz_artist_id: 'a9689aa5-4471-4ee4-b1a8-d0d0c9e0c0a1' }),
    same[2]!,
  ]);
  const third = await apply([withMain(same[0]!, { discogs_artist_id: 4712 }), same[1]!, same[2]!]);
  await call(sql, 'release_identity', { library_id: released, reason: 'wrong' });
  await apply([same[0]!, same[1]!, withMain(same[2]!, { discogs_artist_id: 9 })]);

  const [row] = await sql`select identity_sync_private.artists_changed(5000, 30) as changes`;
  const discogs = (old: string, became: string) => [{ column: 'discogs_artist_id', old, new: became }];
  expect(row!.changes).toMatchObject([
    { library_id: moved, changes: discogs('4712', String(moved)) },
    { library_id: moved, run_id: third, changes: discogs('4711', '4712') },
    { library_id: moved, artist_name: 'Stereolab', run_id: second, changes: discogs(String(moved), '4711') },
  ]);
  const [bounded] = await sql`select identity_sync_private.artists_changed(5000, 1) as changes`;
  expect(bounded!.changes).toHaveLength(1);
});

test('shows what another writer changed, and a library that is gone since', async ({ database: { sql } }) => {
  const shown = async () => {
    const [row] = await sql`select identity_sync_private.artists_changed(5000, 30) as changes`;
    return row!.changes;
  };
  expect(await shown()).toEqual([]);
  await sql`
    insert into wxyc_schema.library_identity_history
      (library_id, spotify_id, last_verified_at, method, confidence, superseded_reason)
    values (7, 'one', now(), 'manual', 1, 'by the station'), (7, 'another', now(), 'manual', 1, 'by the station')`;
  expect(await shown()).toMatchObject([
    { library_id: 7, artist_name: null, run_id: null, changes: [{ old: 'one', new: 'another' }] },
  ]);
});
