// A key that LML refuses: every run stops at once, and the cron plans nothing until a person has acted.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, plan } from '../support/catalogue.js';
import { cli, killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { addJob, identified, NEVER, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();
const GOOD = { LML_API_KEY: 'sk-valid-91bd' };
const REVOKED = { LML_API_KEY: 'sk-revoked-2f6a' };

let database: TestDatabase;
let lml: StandIn;
let ids: number[];
const settings = () => ({
  DATABASE_URL: database.url,
  LIBRARY_METADATA_URL: lml.url,
  BATCH_SIZE: '1',
  LML_CONCURRENCY: '1',
  PLAN_CRON: NEVER,
});

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities, apiKey: GOOD.LML_API_KEY });
  ids = await shelveMany(database.sql, 4);
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

test.each([
  [401, {}],
  [403, REVOKED],
])('a %i stops every open run at its first call, and all rows stay due', async (status, key) => {
  for (const index of [0, 1]) await plan(database.sql, { partition_index: index, partition_count: 2 });
  const ended = await cli(['run', '--partition', '0/2'], { ...settings(), ...key });

  expect(ended.status).toBe(1);
  expect(lml.calls.map((call) => call.status)).toEqual([status]);
  for (const runId of ['1', '2']) {
    expect(await runOf(database.sql, runId)).toMatchObject({
      outcome: 'failed',
      stop_cause: 'key',
      outcome_reason: `LML answered ${status}: the key is refused. Check LML_API_KEY; nothing more is asked.`,
    });
  }
  expect(logOf(ended).at(-1)).toMatchObject({ level: 50, msg: expect.stringContaining('Check LML_API_KEY') });
  expect(ended.stderr + ended.stdout).not.toContain('sk-revoked');
  expect(await candidates(database.sql)).toEqual(ids);
  expect(await holds()).toEqual(['key_refused']);
});

test('what was in flight when the key was refused is written, never requested again, and proves nothing', async () => {
  const [refused, answered, dead] = ids;
  lml.respondWith(async ({ inputs: [input] }) => {
    if (input!.library_id === refused) {
      await expect.poll(() => lml.calls.length).toBe(3);
      return { status: 401 };
    }
    // These come back when the run has been stopped already.
    await expect.poll(holds).toEqual(['key_refused']);
    return input!.library_id === dead ? { status: 503 } : undefined;
  });
  const ended = await cli(['run'], { ...settings(), ...GOOD, LML_CONCURRENCY: '3' });

  expect(ended.status).toBe(1);
  expect([...lml.askedIds()].sort()).toEqual([refused, answered, dead].map((id) => [id, 1]));
  expect(await identified(database.sql)).toEqual([answered]);
  expect(await candidates(database.sql)).toEqual(ids.filter((id) => id !== answered));
  expect(await holds()).toEqual(['key_refused']);
});

describe('after it the cron plans nothing', () => {
  test('until a run by hand was answered', async () => {
    const worker = startCli(['worker'], { ...settings(), ...REVOKED });
    await worker.says('the worker is up');
    await addJob(database.sql, 'plan_identity_run');
    await untilOver('1', 'failed');
    const calls = lml.calls.length;

    await addJob(database.sql, 'plan_identity_run');
    await worker.says('nothing is planned until a person has acted');
    expect(await runOf(database.sql)).toMatchObject({ run_id: '1' });
    expect(lml.calls).toHaveLength(calls);
    expect(await candidates(database.sql)).toEqual(ids);

    // The worker's key is still the wrong one, so it must not carry this run.
    worker.signal('SIGTERM');
    await worker.ended;
    expect(await cli(['run'], { ...settings(), ...GOOD })).toMatchObject({ status: 0 });
    expect(await holds()).toEqual([]);
    const [planned] = await database.sql`select identity_sync.plan_identity_run(scheduled => true) as run_id`;
    expect(planned).toEqual({ run_id: '3' });
  });

  test('until a worker has started again', async () => {
    expect(await cli(['run'], { ...settings(), ...REVOKED })).toMatchObject({ status: 1 });
    expect(await holds()).toEqual(['key_refused']);

    const worker = startCli(['worker'], { ...settings(), ...GOOD });
    await worker.says('the worker is up');
    expect(await holds()).toEqual([]);
    await addJob(database.sql, 'plan_identity_run');
    await untilOver('2', 'completed');
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('however often a run by hand is refused as well', async () => {
    for (const runId of ['1', '2']) {
      expect(await cli(['run'], { ...settings(), ...REVOKED })).toMatchObject({ status: 1 });
      expect(await runOf(database.sql)).toMatchObject({ run_id: runId, stop_cause: 'key' });
      expect(await holds()).toEqual(['key_refused']);
    }
    expect(lml.calls).toHaveLength(2);
  });
});

async function holds(): Promise<string[]> {
  const rows = await database.sql`select name from identity_sync.planning_hold`;
  return rows.map((row) => row.name);
}

async function untilOver(runId: string, outcome: string) {
  await expect.poll(async () => (await runOf(database.sql, runId))?.outcome).toBe(outcome);
}
