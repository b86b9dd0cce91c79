// A run that is due to end is stopped by a claim, unless another session holds it: then a later claim does.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { plan, shelve, tryToClaim } from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { runOf } from '../../support/ledger.js';

let database: TestDatabase;
let runId: string;

beforeEach(async () => {
  database = await cloneDatabase();
  await shelve(database.sql, 'Autechre');
  runId = await plan(database.sql, { call_budget: 1 });
});
afterEach(() => database.drop());

test.each([
  ['deadline', `update identity_sync.run set deadline_at = clock_timestamp()`],
  [
    'budget',
    `insert into identity_sync.lml_call (batch_id, leased_by, inputs) select batch_id, 'x', 1 from identity_sync.batch`,
  ],
])(
  'a run at its %s, held by another session, hands out nothing and holds up no claim',
  async (cause, spend) => {
    await database.sql.unsafe(spend);
    const other = connect(database.url);
    await other`begin`;
    await other`select from identity_sync.run where run_id = ${runId} for no key update`;

    expect(await tryToClaim(database.sql, runId)).toMatchObject({ batch_id: null, wait_ms: 500 });
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });

    await other`commit`;
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    expect(await runOf(database.sql, runId)).toMatchObject({
      stop_cause: cause,
      finished_at: expect.any(Date),
    });
  },
);

test('says whether it stopped the run', async () => {
  const stop = async (id: string) => {
    const [row] =
      await database.sql`select identity_sync_private.stop_unheld_run(${id}, 'enough', 'hand') as stopped`;
    return row!.stopped;
  };
  expect(await stop(runId)).toBe(true);
  expect(await stop('987654321')).toBe(false);
});
