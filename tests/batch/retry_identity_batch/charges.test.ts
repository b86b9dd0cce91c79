import { beforeEach, expect, test } from 'vitest';
import { claim, plan, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchOf, runOf } from '../../support/ledger.js';

const database = useDatabase();
let runId: string;
let batchId: string;

beforeEach(async () => {
  await database.sql`truncate identity_sync.run cascade`;
  await shelveAll(database.sql, 'Autechre');
  runId = await plan(database.sql);
  batchId = (await claim(database.sql, runId)).batch_id;
});

async function retry(retryAt: Date | null) {
  await database.sql`select identity_sync_private.retry_identity_batch(${batchId}, ${retryAt})`;
  const [{ seconds }] = await database.sql<[{ seconds: number }]>`
    select extract(epoch from not_before - clock_timestamp())::float8 as seconds
    from identity_sync.batch where batch_id = ${batchId}`;
  return seconds;
}

test('opens the batch again, charges it a try, and pauses no other batch of its run', async () => {
  await retry(null);
  expect(await batchOf(database.sql, batchId)).toMatchObject({
    ...{ state: 'open', leased_by: null, leased_until: null },
    ...{ tries: 1, deferrals: 0, failure: null, closed_at: null },
  });
  expect(await runOf(database.sql, runId)).toMatchObject({ paused_until: null });
});

test('waits longer after each try', async () => {
  for (const [tries, seconds] of [
    [0, 0.5],
    [3, 4],
    [9, 30],
  ] as const) {
    await database.sql`update identity_sync.batch set tries = ${tries} where batch_id = ${batchId}`;
    const waits = await retry(null);
    expect(waits).toBeGreaterThan(seconds * 0.75 - 0.3);
    expect(waits).toBeLessThanOrEqual(seconds * 1.25);
  }
});

test('waits until the time that LML named, be it sooner or later', async () => {
  expect(await retry(new Date(Date.now() + 3_600_000))).toBeGreaterThan(3500);
  expect(await retry(new Date(Date.now() - 1000))).toBeLessThan(0);
});
