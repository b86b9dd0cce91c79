import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  candidates,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
} from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { reportOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let ids: [number, number];

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab');
});
afterEach(() => database.drop());

const refused = (status: number) => ({
  stop_cause: 'key',
  outcome: 'failed',
  outcome_reason: `LML answered ${status}: the key is refused. Check LML_API_KEY; nothing more is asked.`,
});

test.each([401, 403])('a %i stops the run at once, and its rows stay due', async (status) => {
  const runId = await plan(database.sql, { batch_size: 1, lanes: 1 });
  const { batch_id } = await claim(database.sql, runId);
  expect(await settle(database.sql, batch_id, { status })).toBe('failed');

  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await reportOf(database.sql, runId)).toMatchObject({
    outcome: 'failed',
    outcome_reason: refused(status).outcome_reason,
    left: 2,
    failed_batches: 1,
  });
  expect(await candidates(database.sql)).toEqual(ids);
});

test.each([401, 403])(
  'is the reason of the run also where the batch was its last one: %i',
  async (status) => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { status });
    expect(await runOf(database.sql, runId)).toMatchObject(refused(status));
  },
);

test('stops every other open run, and holds planning with the first reason', async () => {
  const runs = [await plan(database.sql, { scope: 'ids', ids: [ids[0]] }), await plan(database.sql)];
  const [first, second] = [await claim(database.sql, runs[0]!), await claim(database.sql, runs[1]!)];
  await settle(database.sql, first.batch_id, { status: 401, body: '{"message":"unknown key"}' });
  await settle(database.sql, second.batch_id, { status: 403 });

  for (const runId of runs) expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'key' });
  const holds = await database.sql`select name, reason, run_id from identity_sync.planning_hold`;
  expect([...holds]).toEqual([
    { name: 'key_refused', reason: 'LML answered 401: unknown key', run_id: runs[0] },
  ]);
});

test('lets the answer of a call in flight be written', async () => {
  const runId = await plan(database.sql, { batch_size: 1 });
  const [first, inFlight] = [await claim(database.sql, runId), await claim(database.sql, runId)];
  await settle(database.sql, first.batch_id, { status: 401 });
  expect(await reportOf(database.sql, runId)).toMatchObject({ finished_at: null });

  await settle(database.sql, inFlight.batch_id, { body: resolveAll(inFlight.request) });
  expect(await reportOf(database.sql, runId)).toMatchObject({ outcome: 'failed', rows_resolved: 1 });
});
