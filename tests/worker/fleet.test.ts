// Several workers on one database: they share a run and one limit on the calls in flight, and get in nobody's way.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, plan } from '../support/catalogue.js';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, NEVER, reportOf, runOf, shelveMany } from '../support/faults.js';

const BATCHES = 40;
const LATENCY_MS = 500;
const CONCURRENCY = 4;

let database: TestDatabase;
let lml: StandIn;

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities: loadIdentities(), latencyMs: LATENCY_MS });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

test('three workers ask for every record of a run once, with as many calls in flight as one may have', async () => {
  const ids = await shelveMany(database.sql, BATCHES * 2);
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, PLAN_CRON: NEVER };
  const limit = { LML_CONCURRENCY: String(CONCURRENCY) };
  const workers = [1, 2, 3].map(() => startCli(['worker'], { ...settings, ...limit }));
  for (const worker of workers) await worker.says('the worker is up');
  // More lanes than one of them can carry.
  await plan(database.sql, { batch_size: 2, lanes: 3 * CONCURRENCY });
  await expect.poll(async () => (await runOf(database.sql)).outcome, { timeout: 25_000 }).toBe('completed');

  expect([...lml.askedIds()].sort(([one], [other]) => one - other)).toEqual(ids.map((id) => [id, 1]));
  expect(lml.calls).toHaveLength(BATCHES);
  expect(lml.maxInFlight).toBe(CONCURRENCY);
  expect(await candidates(database.sql)).toEqual([]);
  expect(await reportOf(database.sql)).toMatchObject({
    scanned: ids.length,
    rows_resolved: ids.length,
    lml_total_calls: BATCHES,
    failed_batches: 0,
  });
  const processes = await database.sql`
    select split_part(leased_by, ':', 2) as pid from identity_sync.lml_call group by 1`;
  expect(processes.length).toBeGreaterThan(1);

  // Printed only: no clock of a busy machine is a promise.
  const { finished_at } = await runOf(database.sql);
  const took = finished_at!.getTime() - lml.calls[0]!.at.getTime();
  const least = (BATCHES * LATENCY_MS) / CONCURRENCY;
  const above = Math.round((took / least - 1) * 100);
  console.log(
    `three workers, ${BATCHES} calls of ${LATENCY_MS} ms, ${CONCURRENCY} at once: ${took} ms, ${above} % above the least`,
  );
});

test('a lane that pauses after its call has written its answer before', async () => {
  const [answered] = await shelveMany(database.sql, 2);
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '1' };
  startCli(['run'], { ...settings, LML_CONCURRENCY: '1', THROTTLE_MS: '60000' });

  await expect.poll(() => identified(database.sql), { timeout: 15_000 }).toEqual([answered]);
  expect(lml.calls).toHaveLength(1);
});

test('a lane that cannot claim any more has written the answer in its hands', async () => {
  const [answered] = await shelveMany(database.sql, 2);
  await database.sql.unsafe(`
    create function describe_refusal() returns trigger language plpgsql as $$ begin raise 'no more calls'; end $$;
    create trigger refuse before insert on identity_sync.lml_call for each row when (new.batch_id > 1)
    execute function describe_refusal()`);
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '1' };
  startCli(['run'], { ...settings, LML_CONCURRENCY: '1' });

  await expect.poll(() => identified(database.sql), { timeout: 15_000 }).toEqual([answered]);
  expect([...lml.askedIds()]).toEqual([[answered, 1]]);
});
