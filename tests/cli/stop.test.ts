// A run whose process is stopped once, stopped twice, or killed.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, shelveAll } from '../support/catalogue.js';
import { cli, holdAnswers, killLeftovers, type RunningCli, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
let ids: number[];
let answers: ReturnType<typeof holdAnswers>;
let running: RunningCli;

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
  ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power', 'Aphex Twin', 'Bjork');

  // Two calls are in flight, three batches wait.
  answers = holdAnswers(lml);
  running = start();
  await callsAre(2);
});

afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

describe.each(['SIGINT', 'SIGTERM'] as const)('%s', (signal) => {
  test('once: the calls in flight are finished, the rest stays due, and a later run completes', async () => {
    running.signal(signal);
    await isStopping();
    answers.letGo();

    const ended = await running.ended;
    expect(ended.status).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'stopped',
      scanned: 2,
      left: 3,
      lml_total_calls: 2,
    });
    expect(lml.calls).toHaveLength(2);
    expect(await candidates(database.sql)).toEqual(ids.slice(2));

    const later = await cli(['run', '--batch-size', '1'], settings());
    expect(later.status).toBe(0);
    expect(JSON.parse(later.stdout)).toMatchObject({ outcome: 'completed', scanned: 3 });
    expect([...lml.askedIds().values()]).toEqual([1, 1, 1, 1, 1]);
  });

  test('twice: the calls in flight are cut off, their batches given back, and all stays due', async () => {
    running.signal(signal);
    await isStopping();
    running.signal(signal);

    expect(await running.endsWithin(20_000)).toMatchObject({ status: 1 });
    expect(await runOf(1)).toMatchObject({ outcome: 'stopped', stop_reason: 'stopped by hand' });
    expect(lml.calls.map((call) => call.status)).toEqual([null, null]);
    expect(await candidates(database.sql)).toEqual(ids);

    answers.letGo();
    const later = await cli(['run', '--batch-size', '1'], settings());
    expect(later.status).toBe(0);
    expect(JSON.parse(later.stdout)).toMatchObject({ run_id: 2, outcome: 'completed', scanned: 5 });
  });
});

test('a run that is stopping waits for its last call without spinning', async () => {
  running.signal('SIGINT');
  await isStopping();
  answers.letOneGo();
  await expect.poll(async () => (await reportOf(1)).scanned).toBe(1);

  const before = await jobsEverEnqueued();
  await new Promise((over) => setTimeout(over, 700));
  expect((await jobsEverEnqueued()) - before).toBeLessThan(10);

  answers.letGo();
  expect(await running.ended).toMatchObject({ status: 1 });
});

test('a process that joined leaves at Ctrl-C, and the run goes on with the one that opened it', async () => {
  const joined = start();
  await joined.says('"msg":"run 1 planned: ');
  joined.signal('SIGINT');
  await joined.endsWithin(20_000);
  expect(await runOf(1)).toMatchObject({ stop_reason: null, finished_at: null });

  answers.letGo();
  const ended = await running.ended;
  expect(ended.status).toBe(0);
  expect(JSON.parse(ended.stdout)).toMatchObject({ run_id: 1, outcome: 'completed', scanned: 5 });
});

test('a process that is killed costs its leases: the next run joins, and carries everything to its end', async () => {
  running.signal('SIGKILL');
  await running.ended;
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() where leased_until is not null`;
  answers.letGo();

  const next = await cli(['run', '--batch-size', '1'], settings());
  expect(next.status).toBe(0);
  expect(JSON.parse(next.stdout)).toMatchObject({
    run_id: 1,
    outcome: 'completed',
    scanned: 5,
    lml_total_calls: 7,
  });
  expect(await candidates(database.sql)).toEqual([]);
});

test('the lease of a process that is killed runs out at most ten seconds after its call must have ended', async () => {
  running.signal('SIGKILL');
  await running.ended;
  const leases = await database.sql`
    select leased_until - started_at <= '40 s' as in_time
    from identity_sync.batch join identity_sync.lml_call using (batch_id) where leased_until is not null`;
  expect(leases.map((lease) => lease.in_time)).toEqual([true, true]);
});

function start(): RunningCli {
  return startCli(['run', '--batch-size', '1'], settings());
}

function settings() {
  return { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url };
}

async function callsAre(count: number) {
  await expect.poll(() => lml.calls.length).toBe(count);
}

/** Waits until the process has received the signal and the database knows that the run stops. */
async function isStopping() {
  await running.says('finishing the batches in flight');
  await expect.poll(async () => (await runOf(1)).stop_reason).toBe('stopped by hand');
}

async function jobsEverEnqueued(): Promise<number> {
  const [row] = await database.sql`
    select pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')::regclass)::integer
      as jobs`;
  return row!.jobs;
}

async function reportOf(runId: number) {
  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  return row!.report;
}

async function runOf(runId: number) {
  const [run] = await database.sql`select * from identity_sync.run where run_id = ${runId}`;
  return run!;
}
