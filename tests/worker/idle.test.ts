// Nobody spins: where there is nothing to do yet, little is said to the database, with THROTTLE_MS=0 as well.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { plan, tryToClaim } from '../support/catalogue.js';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { type Gate, NEVER, openGate, shelveMany } from '../support/faults.js';

// On a busy machine processes take more than half a minute to start.
vi.setConfig({ testTimeout: 120_000 });

let database: TestDatabase;
let gate: Gate;
let lml: StandIn;

beforeEach(async () => {
  database = await cloneDatabase();
  gate = await openGate(database.url);
  lml = await startStandIn({ identities: loadIdentities() });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await gate.shut();
  await database.drop();
});

async function startWorker() {
  const settings = { DATABASE_URL: gate.url, LIBRARY_METADATA_URL: lml.url, PLAN_CRON: NEVER };
  const worker = startCli(['worker'], { ...settings, THROTTLE_MS: '0' });
  await worker.says('the worker is up');
}

/** How many messages go to the database in a second, on the average over a few. */
async function messagesPerSecond(): Promise<number> {
  const seconds = 3;
  const before = gate.messages;
  await sleep(seconds * 1000);
  return (gate.messages - before) / seconds;
}

test('a worker with an empty queue looks into it about once a second and thread', async () => {
  await startWorker();
  const rate = await messagesPerSecond();
  expect(rate).toBeGreaterThan(1);
  expect(rate).toBeLessThan(15);
});

test('lanes whose places are taken elsewhere ask about ten times a second', async () => {
  await shelveMany(database.sql, 5);
  const runId = await plan(database.sql, { batch_size: 1 });
  for (const leased_by of ['elsewhere:1', 'elsewhere:2'])
    await tryToClaim(database.sql, runId, { leased_by });
  await startWorker();
  await expect.poll(lanesAtWork, { timeout: 60_000 }).toBe(2);

  const rate = await messagesPerSecond();
  expect(rate).toBeGreaterThan(5);
  expect(rate).toBeLessThan(50);
  expect(lml.calls).toEqual([]);
});

test('lanes of a run that pauses go away until then', async () => {
  await shelveMany(database.sql, 5);
  lml.respondWith(() => ({ status: 429, headers: { 'retry-after': '600' } }));
  await startWorker();
  await plan(database.sql, { batch_size: 1 });
  await expect.poll(() => lml.calls.length, { timeout: 60_000 }).toBeGreaterThan(0);
  await expect.poll(lanesAtWork, { timeout: 60_000 }).toBe(0);

  expect(await messagesPerSecond()).toBeLessThan(15);
});

async function lanesAtWork(): Promise<number> {
  const jobs = await database.sql`select from graphile_worker.jobs where locked_at is not null`;
  return jobs.length;
}
