// A lane with a real database and a real socket: what it has in hand is not asked for again, however long it waits.
import { expect } from 'vitest';
import { InHand } from '../../src/carry/in-hand.js';
import { type Carrier, carryLane } from '../../src/carry/lane.js';
import { connectLml } from '../../src/carry/lml.js';
import { connectDatabase } from '../../src/database/connect.js';
import { plan, tryToClaim } from '../support/catalogue.js';
import { identified, shelveMany } from '../support/faults.js';
import { batchesOf } from '../support/ledger.js';
import { test } from '../support/test.js';

const TIMEOUT_MS = 5000;

test('an answer that waits for room keeps its lease, is asked for once, and is written', async ({
  database,
  lml,
  onTestFinished,
}) => {
  const ids = await shelveMany(database.sql, 2);
  const runId = await plan(database.sql, { batch_size: 2 });
  const inHand = new InHand(0);
  const eldest = inHand.open();
  await eldest.take(1, new AbortController().signal);
  const sql = connectDatabase(database.url, 3);
  const way = connectLml(lml.url, { timeoutMs: TIMEOUT_MS, inHand });
  onTestFinished(async () => {
    await way.close();
    await sql.end();
  });
  const carrier: Carrier = {
    sql,
    lml: way,
    concurrency: 1,
    timeoutMs: TIMEOUT_MS,
    maxTries: 1,
    throttleMs: 0,
    stop: new AbortController().signal,
    abortNow: new AbortController().signal,
    observer: { callEnded() {}, batchFailed() {}, protocolDrifted() {} },
  };

  const lane = carryLane(carrier, runId, 'here:1:1');
  await expect.poll(() => lml.calls.length, { timeout: 10_000 }).toBe(1);
  // As if some of its time had passed already.
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() + interval '10 seconds' where state = 'in_flight'`;
  const isRenewed = async () => {
    const [row] = await database.sql`
      select leased_until > clock_timestamp() + interval '11 seconds' as renewed from identity_sync.batch`;
    return row!.renewed;
  };
  await expect.poll(isRenewed, { timeout: 60_000 }).toBe(true);
  expect(await tryToClaim(database.sql, runId, { leased_by: 'elsewhere:1:1' })).toMatchObject({
    batch_id: null,
  });

  eldest.giveBack();
  await lane;
  expect(await batchesOf(database.sql, runId)).toMatchObject([{ state: 'applied', tries: 0 }]);
  expect(await identified(database.sql)).toEqual(ids);
  expect([...lml.askedIds().values()]).toEqual([1, 1]);
  expect(inHand.bytes).toBe(0);
});
