import { beforeEach, expect, test } from 'vitest';
import { claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';
import { batchesOf, reportOf, runOf } from '../../support/ledger.js';

const database = useDatabase();

beforeEach(() => database.sql`truncate wxyc_schema.library, identity_sync.run cascade`);

test('compilations come first, and each cohort in batches of its own size', async () => {
  const [va] = await shelveAll(database.sql, { artist: 'Soundtracks - S', volumeLetters: 'Z' });
  const ids = await shelveMany(database.sql, 5);
  const runId = await plan(database.sql, { batch_size: 3, va_batch_size: 1 });
  expect(await batchesOf(database.sql, runId)).toMatchObject([
    { cohort: 'va', library_ids: [va] },
    { cohort: 'non_va', library_ids: ids.slice(0, 3) },
    { cohort: 'non_va', library_ids: ids.slice(3) },
  ]);
  expect(await runOf(database.sql, runId)).toMatchObject({ planned: 6, in_other_runs: [] });
});

test('what is in an open batch of another run is left to it, and the run knows which rows', async () => {
  const ids = await shelveMany(database.sql, 4);
  const other = await plan(database.sql, { scope: 'ids', ids: ids.slice(0, 2) });
  const runId = await plan(database.sql);
  expect(await batchesOf(database.sql, runId)).toMatchObject([{ library_ids: ids.slice(2) }]);
  expect(await runOf(database.sql, runId)).toMatchObject({
    planned: 2,
    in_other_runs: ids.slice(0, 2),
    held_by_runs: [other],
  });
  expect(await reportOf(database.sql, runId)).toMatchObject({ held_by_others: 2, held_ids: ids.slice(0, 2) });

  // A closed batch keeps nothing from being requested.
  const { batch_id, request } = await claim(database.sql, other);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  const later = await plan(database.sql, { scope: 'refresh', partition_count: 1, ids });
  expect((await runOf(database.sql, later)).in_other_runs).toEqual(ids.slice(2));
});

test('a dry run takes every candidate', async () => {
  const ids = await shelveMany(database.sql, 2);
  await plan(database.sql);
  const runId = await plan(database.sql, { dry_run: true });
  expect(await batchesOf(database.sql, runId)).toMatchObject([{ library_ids: ids }]);
  expect(await runOf(database.sql, runId)).toMatchObject({ in_other_runs: [] });
});
