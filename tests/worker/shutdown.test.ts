// SIGTERM: the worker begins no call, finishes those in flight or gives them back, and is gone within about ten seconds.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { plan, tryToClaim, untilWaiting } from '../support/catalogue.js';
import { holdAnswers, killLeftovers, type RunningCli, startCli } from '../support/cli.js';
import { cloneDatabase, connect, postgresVersion, type TestDatabase } from '../support/database.js';
import { freePort, NEVER, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

// On a busy machine processes take more than half a minute to start.
vi.setConfig({ testTimeout: 120_000 });

let database: TestDatabase;
let lml: StandIn;
let ids: number[];

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
  ids = await shelveMany(database.sql, 5);
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, PLAN_CRON: NEVER });

async function startWorker(more: Record<string, string> = {}): Promise<RunningCli> {
  const worker = startCli(['worker'], { ...settings(), ...more });
  await worker.says('the worker is up');
  return worker;
}

/** A worker with two calls in flight, which are not answered yet, and three batches that wait. */
async function startBusyWorker() {
  const answers = holdAnswers(lml);
  const worker = await startWorker();
  const runId = await plan(database.sql, { batch_size: 1 });
  await expect.poll(() => lml.calls.length, { timeout: 60_000 }).toBe(2);
  return { worker, runId, answers };
}

async function states(): Promise<string[]> {
  const batches = await database.sql`select state from identity_sync.batch order by batch_id`;
  return batches.map((batch) => batch.state);
}

describe('a worker told to end', () => {
  test('finishes the calls in flight, and another one carries the rest at once', async () => {
    const { worker, answers } = await startBusyWorker();
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    answers.letGo();

    expect(await worker.endsWithin(8000)).toMatchObject({ status: 0 });
    expect(lml.calls).toHaveLength(2);
    expect(await states()).toEqual(['applied', 'applied', 'open', 'open', 'open']);
    expect(await runOf(database.sql)).toMatchObject({ outcome: null, stop_cause: null });
    // A lane waits in the queue, so that nobody has to tend the run first.
    expect(await database.sql`select from graphile_worker.jobs where locked_at is null`).not.toEqual([]);

    await startWorker();
    await expect.poll(async () => (await runOf(database.sql)).outcome, { timeout: 60_000 }).toBe('completed');
    expect([...lml.askedIds()].sort()).toEqual(ids.map((id) => [id, 1]));
  });

  // Eight seconds of waiting, whatever the server's version.
  test.skipIf(postgresVersion < 18)(
    'while LML is slow cuts its calls off in time, and gives their batches back (on PostgreSQL 18 only)',
    async () => {
      const { worker, runId } = await startBusyWorker();
      worker.signal('SIGTERM');

      expect(await worker.endsWithin(12_000)).toMatchObject({ status: 0 });
      expect(lml.calls.map((call) => call.status)).toEqual([null, null]);
      expect(await states()).toEqual(ids.map(() => 'open'));
      const next = await tryToClaim(database.sql, runId, { concurrency: 1 });
      expect(JSON.parse(next!.request!).inputs).toMatchObject([{ library_id: ids[0] }]);
    },
  );

  test('twice, cuts its calls off at once', async () => {
    const { worker } = await startBusyWorker();
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    worker.signal('SIGTERM');

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
    expect(lml.calls.map((call) => call.status)).toEqual([null, null]);
    expect(await states()).toEqual(ids.map(() => 'open'));
  });

  test('with nothing to do ends at once, its probes too', async () => {
    const worker = await startWorker({ HEALTH_PORT: await freePort() });
    worker.signal('SIGTERM');
    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
  });

  test('before it is up ends as soon as it is', async () => {
    const session = connect(database.url);
    await session`begin`;
    await session`lock table identity_sync.planning_hold`;
    const worker = startCli(['worker'], settings());
    await untilWaiting(database.sql);
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    await session`commit`;

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
  });

  test('whose lanes wait for their turn ends at once, and asks nothing', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    for (const leased_by of ['elsewhere:1', 'elsewhere:2'])
      await tryToClaim(database.sql, runId, { leased_by });
    const worker = await startWorker();
    await expect
      .poll(() => database.sql`select from graphile_worker.jobs where locked_by is not null`, {
        timeout: 60_000,
      })
      .toHaveLength(2);
    worker.signal('SIGTERM');

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
    expect(lml.calls).toEqual([]);
    expect(await states()).toEqual(['in_flight', 'in_flight', 'open', 'open', 'open']);
  });
});
