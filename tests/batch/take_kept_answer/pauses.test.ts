// A kept answer needs no call, so what holds calls up does not hold it up.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claim, plan, resolveAll, settle, shelveAll, tryToClaim } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let runId: string;
let kept: Awaited<ReturnType<typeof claim>>;

beforeEach(async () => {
  database = await cloneDatabase();
  await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  runId = await plan(database.sql, { batch_size: 1, call_budget: 2 });
  kept = await claim(database.sql, runId);
  await database.sql`
    select identity_sync_private.keep_identity_answer(${kept.batch_id}, ${resolveAll(kept.request)}, clock_timestamp())`;
  await database.sql`update identity_sync.batch set not_before = clock_timestamp() where answer is not null`;
});
afterEach(() => database.drop());

test.each([
  ['is paused', `update identity_sync.run set paused_until = clock_timestamp() + interval '1 hour'`],
  ['is at its deadline', `update identity_sync.run set deadline_at = clock_timestamp()`],
  ['was stopped', `select identity_sync.stop_identity_run(run_id, 'enough') from identity_sync.run`],
  ['has no place in flight left', `update identity_sync.run set trace_id = trace_id`, { concurrency: 0 }],
])('it is handed out though its run %s', async (_, what, parameters?: { concurrency: number }) => {
  await database.sql.unsafe(what);
  expect(await tryToClaim(database.sql, runId, parameters)).toMatchObject({
    batch_id: kept.batch_id,
    request: null,
    inputs: 1,
  });
  expect(await settle(database.sql, kept.batch_id, {})).toBe('applied');
});

test('it is no call: a budget is not charged for it', async () => {
  await tryToClaim(database.sql, runId);
  await settle(database.sql, kept.batch_id, {});
  const next = await claim(database.sql, runId);
  await settle(database.sql, next.batch_id, { body: resolveAll(next.request) });
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  const [run] =
    await database.sql`select stop_cause, report -> 'lml_total_calls' as calls from identity_sync.run`;
  expect(run).toEqual({ stop_cause: 'budget', calls: 2 });
});

test('is given to the next lane at once where the one that had it has died', async () => {
  await tryToClaim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
  expect(await tryToClaim(database.sql, runId, { leased_by: 'alive' })).toMatchObject({
    batch_id: kept.batch_id,
    request: null,
  });
});

test('is given to one of the lanes that ask', async () => {
  expect(await tryToClaim(database.sql, runId, { leased_by: 'one' })).toMatchObject({
    batch_id: kept.batch_id,
  });
  expect(await tryToClaim(database.sql, runId, { leased_by: 'two' })).not.toMatchObject({
    batch_id: kept.batch_id,
  });
});
