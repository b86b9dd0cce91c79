import { expect, test } from 'vitest';
import { plan, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

/** The warnings of a run with a settlement a pair: so many track entries without a credit, so many with one. */
async function warningsOf(...settlements: [unmatched: number, matched: number][]): Promise<string[]> {
  await shelve(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  for (const [unmatched, matched] of settlements) {
    await database.sql`
      insert into identity_sync.settlement (run_id, origin, verified_at, requested, unrequested, report)
      select ${runId}, 'consumer:lml-bulk', now(), 0, 0,
        jsonb_set(
          jsonb_set(identity_sync_private.empty_report(), '{compilation_track,no_cta_match}', to_jsonb(${unmatched}::integer)),
          '{compilation_track,written}', to_jsonb(${matched}::integer))`;
  }
  const [row] = await database.sql`select identity_sync_private.identity_run_warnings(${runId}) as warnings`;
  await database.sql`truncate identity_sync.run cascade`;
  return row!.warnings;
}

test('a run is warned of where most entries of a batch, and at least ten, match no credit', async () => {
  expect(await warningsOf()).toEqual([]);
  expect(await warningsOf([10, 10], [9, 0], [0, 100])).toEqual([]);
  expect(await warningsOf([10, 9])).toHaveLength(1);
  expect(await warningsOf([10, 9], [30, 1], [0, 100])).toEqual([
    'batches whose track entries mostly match no credit of compilation_track_artist: 2 (40 of 50 entries); ' +
      'artist_name and track_title have drifted apart',
  ]);
});

test('a run is warned once of each name that this service does not know', async () => {
  await shelve(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  const settle = (names: string[], of: string | null = runId) => database.sql`
    insert into identity_sync.settlement (run_id, origin, verified_at, requested, unrequested, report, unknown_names)
    values (${of}, 'consumer:lml-bulk', now(), 0, 0, identity_sync_private.empty_report(), ${names})`;
  const warnings = async () => {
    const [row] =
      await database.sql`select identity_sync_private.identity_run_warnings(${runId}) as warnings`;
    return row!.warnings;
  };
  await settle(['source deezer']);
  expect(await warnings()).toHaveLength(1);
  for (const names of [['source deezer', 'key main.isni'], []]) await settle(names);
  await settle(['source of another run'], null);
  expect(await warnings()).toEqual([
    'LML named what this service does not know, sources and methods are written as they came: ' +
      'key main.isni, source deezer',
  ]);
  await database.sql`truncate identity_sync.run cascade`;
});

test('a run is warned of the ids that it cannot ask for, of which a hundred are listed', async () => {
  const warnings = async (ids: number[]) => {
    const runId = await plan(database.sql, { scope: 'ids', ids });
    const [row] =
      await database.sql`select identity_sync_private.identity_run_warnings(${runId}) as warnings`;
    return row!.warnings;
  };
  const many = Array.from({ length: 101 }, (_, index) => 4_000_000 + index);
  const words = 'ids named that are not in library, or have no artist name there: ';
  expect(await warnings([])).toEqual([]);
  expect(await warnings(many.slice(0, 100))).toEqual([words + many.slice(0, 100).join()]);
  expect(await warnings(many)).toEqual([`${words + many.slice(0, 100).join()}, …`]);
});
