// Planning does not wait: an overdue run that another session holds is ended by a later plan.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call, plan, shelve } from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { runOf } from '../../support/ledger.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
});
afterEach(() => database.drop());

test('a run that another session is about to stop holds up no plan of another', async () => {
  await shelve(database.sql, 'Autechre');
  const overdue = await plan(database.sql);
  await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
  const operator = connect(database.url);
  await operator`begin`;
  await call(operator, 'stop_identity_run', { run_id: overdue, reason: 'by hand' });

  expect(await plan(database.sql, { scope: 'refresh' })).not.toBe(overdue);

  await operator`rollback`;
  await plan(database.sql, { scope: 'recheck' });
  expect(await runOf(database.sql, overdue)).toMatchObject({ stop_cause: 'deadline' });
});
