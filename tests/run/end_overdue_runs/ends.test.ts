// A run past its deadline holds nothing that is not in flight; no other run is touched.
import { beforeEach, expect, test } from 'vitest';
import { call, claim, plan, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchesOf, runOf } from '../../support/ledger.js';

const database = useDatabase();
let runId: string;

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  runId = await plan(database.sql, { batch_size: 1 });
  await claim(database.sql, runId, { leased_by: 'alive' });
  await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
});

const endOverdue = () => database.sql`select identity_sync_private.end_overdue_runs()`;

async function states() {
  return (await batchesOf(database.sql, runId)).map((batch) => batch.state);
}

test('past its deadline a run abandons what no process holds, and waits for the call in flight', async () => {
  await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
  await endOverdue();
  expect(await states()).toEqual(['in_flight', 'abandoned', 'abandoned']);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'deadline', outcome: null });

  await database.sql`update identity_sync.batch set leased_until = clock_timestamp() where leased_by = 'alive'`;
  await endOverdue();
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'deadline', outcome: 'stopped' });
});

test('a run stopped before keeps its cause', async () => {
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
  await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
  await endOverdue();
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'hand', stop_reason: 'enough' });
});

test('a run before its deadline goes on', async () => {
  await endOverdue();
  expect(await states()).toEqual(['in_flight', 'in_flight', 'open']);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });
});
