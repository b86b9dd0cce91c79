import { beforeEach, expect, test } from 'vitest';
import { claim, plan, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchOf, runOf } from '../../support/ledger.js';

const database = useDatabase();
let runId: string;
let batchId: string;

beforeEach(async () => {
  await database.sql`truncate identity_sync.run cascade`;
  await shelveAll(database.sql, 'Autechre', 'Stereolab');
  runId = await plan(database.sql, { batch_size: 1 });
  batchId = (await claim(database.sql, runId)).batch_id;
});

const defer = (retryAfterSeconds: number | null) => database.sql`
  select identity_sync_private.defer_identity_batch(
    ${batchId}, clock_timestamp() + ${retryAfterSeconds}::float8 * interval '1 second')`;

/** How many seconds are left of the batch's pause and of its run's. */
async function pauses() {
  const [row] = await database.sql<[{ batch: number; run: number }]>`
    select
      extract(epoch from not_before - clock_timestamp())::float8 as batch,
      extract(epoch from paused_until - clock_timestamp())::float8 as run
    from identity_sync.batch join identity_sync.run using (run_id) where batch_id = ${batchId}`;
  return row;
}

test('opens the batch again for the time that LML named, and pauses the whole run until then', async () => {
  await defer(600);
  expect(await batchOf(database.sql, batchId)).toMatchObject({
    ...{ state: 'open', leased_by: null, leased_until: null },
    ...{ tries: 0, deferrals: 1, closed_at: null },
  });
  const { batch, run } = await pauses();
  expect(batch).toBeGreaterThan(590);
  expect(batch).toBeLessThanOrEqual(600);
  expect(Math.abs(run - batch)).toBeLessThan(0.001);
});

test('waits half a second at least, also where the time that LML named has passed', async () => {
  await defer(-3600);
  expect((await pauses()).batch).toBeGreaterThan(0.3);
});

test('without a time, waits longer after each deferral, however many there were before', async () => {
  for (const [deferrals, seconds] of [
    [0, 0.5],
    [4, 8],
    [5000, 30],
  ] as const) {
    await database.sql`
      update identity_sync.batch set deferrals = ${deferrals}, not_before = null where batch_id = ${batchId}`;
    await database.sql`update identity_sync.run set paused_until = null`;
    await defer(null);
    const { batch } = await pauses();
    expect(batch).toBeGreaterThan(seconds * 0.75 - 0.3);
    expect(batch).toBeLessThanOrEqual(seconds * 1.25);
  }
});

test('never shortens a pause that the run has already', async () => {
  const long = new Date(Date.now() + 3_600_000);
  await database.sql`update identity_sync.run set paused_until = ${long} where run_id = ${runId}`;
  await defer(1);
  expect((await runOf(database.sql, runId)).paused_until).toEqual(long);
});
