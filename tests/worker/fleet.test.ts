// Several workers on one database: they share a run and one limit on the calls in flight, and stay out of each other's way.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { call, candidates, plan } from '../support/catalogue.js';
import { holdAnswers, killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, NEVER, reportOf, runOf, shelveMany } from '../support/faults.js';

const BATCHES = 40;
const LATENCY_MS = 500;
// Three workers cannot hold equal parts of these places at any one moment, so the places must go round.
const CONCURRENCY = 4;

const SHARED_CALLS = 240;
const SHORT_LATENCY_MS = 150;

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

const settings = () => ({
  DATABASE_URL: database.url,
  LIBRARY_METADATA_URL: lml.url,
  PLAN_CRON: NEVER,
  LML_CONCURRENCY: String(CONCURRENCY),
  // Answers are held back for as long as other processes take to start.
  LML_TIMEOUT_MS: '120000',
});

async function untilCompleted() {
  await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('completed');
}

/** How many calls each process began, counted from when all of them had begun one. */
async function callsOnceAllHaveBegun(): Promise<number[]> {
  const processes = await database.sql<{ calls: number }[]>`
    with call as (
      select call_id, split_part(leased_by, ':', 2) as pid from identity_sync.lml_call
    ),
    process as (
      select pid, min(call_id) as first_call_id from call group by pid
    )
    select count(*)::integer as calls from call
    where call_id > (select max(first_call_id) from process)
    group by pid`;
  return processes.map((process) => process.calls);
}

/** Expects each share to be within a fifth of the mean. */
function expectEqualShares(calls: number[], processes: number) {
  expect(calls).toHaveLength(processes);
  const mean = calls.reduce((sum, share) => sum + share, 0) / processes;
  // Fewer would say little.
  expect(mean).toBeGreaterThan(20);
  const shares = calls.map((share) => share / mean);
  expect(Math.min(...shares), `shares of ${calls}`).toBeGreaterThan(0.8);
  expect(Math.max(...shares), `shares of ${calls}`).toBeLessThan(1.2);
}

test('three workers ask for every record of a run once, with as many calls in flight as one may have', async () => {
  const ids = await shelveMany(database.sql, BATCHES * 2);
  const workers = [1, 2, 3].map(() => startCli(['worker'], settings()));
  for (const worker of workers) await worker.says('the worker is up');
  // More lanes than one of them can carry.
  await plan(database.sql, { batch_size: 2, lanes: 3 * CONCURRENCY });
  await untilCompleted();

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

test('three workers that carry a run from its start each make a third of its calls', async () => {
  await shelveMany(database.sql, SHARED_CALLS);
  lml.respondWith(() => ({ delayMs: SHORT_LATENCY_MS }));
  const workers = [1, 2, 3].map(() => startCli(['worker'], settings()));
  for (const worker of workers) await worker.says('the worker is up');
  await plan(database.sql, { batch_size: 1, lanes: 3 * CONCURRENCY });
  await untilCompleted();

  expectEqualShares(await callsOnceAllHaveBegun(), 3);
});

test('workers that join a run while others carry it get an equal share of what is left', async () => {
  await shelveMany(database.sql, SHARED_CALLS);
  lml.respondWith(() => ({ delayMs: SHORT_LATENCY_MS }));
  startCli(['worker'], settings());
  await plan(database.sql, { batch_size: 1, lanes: CONCURRENCY });
  await expect.poll(() => lml.calls.length).toBeGreaterThan(2 * CONCURRENCY);
  // However long a busy machine takes to start the others, the run is not over by then.
  const answers = holdAnswers(lml);
  const worker = startCli(['worker'], settings());
  // A run in the foreground is a worker as well: it joins the run that is open.
  const run = startCli(['run'], { ...settings(), BATCH_SIZE: '1' });
  await Promise.all([worker.says('the worker is up'), run.says('"msg":"run 1 planned: ')]);
  answers.letGo();
  lml.respondWith(() => ({ delayMs: SHORT_LATENCY_MS }));
  await untilCompleted();

  expectEqualShares(await callsOnceAllHaveBegun(), 3);
});

test('a run in the foreground makes its call though workers have lanes to spare for another run', async () => {
  await shelveMany(database.sql, SHARED_CALLS);
  for (const _ of [1, 2]) startCli(['worker'], settings());
  const long = await plan(database.sql, { batch_size: 1, lanes: CONCURRENCY });
  const answers = holdAnswers(lml);
  await expect.poll(() => lml.calls.length).toBe(CONCURRENCY);
  // Lanes that wait in the queue, more than this process will carry at once.
  await call(database.sql, 'enqueue_lanes', { run_id: long, lanes: 4 * CONCURRENCY });
  const [added] = await shelveMany(database.sql, 1, 'Stereolab');
  const foreground = startCli(['run', '--ids', String(added)], settings());
  await expect.poll(async () => Number((await runOf(database.sql)).run_id)).toBeGreaterThan(Number(long));
  answers.letGo();

  expect(await foreground.ended).toMatchObject({ status: 0 });
  expect(await runOf(database.sql, long)).toMatchObject({ outcome: null });
});

test('a lane that pauses after its call has written its answer before', async () => {
  const [answered] = await shelveMany(database.sql, 2);
  startCli(['run'], { ...settings(), BATCH_SIZE: '1', LML_CONCURRENCY: '1', THROTTLE_MS: '60000' });

  await expect.poll(() => identified(database.sql)).toEqual([answered]);
  expect(lml.calls).toHaveLength(1);
});

test('a lane that cannot claim any more has written the answer in its hands', async () => {
  const [answered] = await shelveMany(database.sql, 2);
  await database.sql.unsafe(`
    create function describe_refusal() returns trigger language plpgsql as $$ begin raise 'no more calls'; end $$;
    create trigger refuse before insert on identity_sync.lml_call for each row when (new.batch_id > 1)
    execute function describe_refusal()`);
  startCli(['run'], { ...settings(), BATCH_SIZE: '1', LML_CONCURRENCY: '1' });

  await expect.poll(() => identified(database.sql)).toEqual([answered]);
  expect([...lml.askedIds()]).toEqual([[answered, 1]]);
});
