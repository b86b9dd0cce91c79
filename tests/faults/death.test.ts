// Death: processes are killed at random moments of their work, and those that live on take up what they held.
// `npm run soak` shows what hundreds of deaths do.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { answerOf, call, candidates, plan, verdict } from '../support/catalogue.js';
import { killLeftovers, type RunningCli, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, NEVER, reportOf, runOf, shelveMany } from '../support/faults.js';

const CONCURRENCY = 8;

let database: TestDatabase;
let lml: StandIn;
let ids: number[];

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities: loadIdentities(), latencyMs: 300 });
  // Each holds an identity that a run replaces, so that a row written twice would leave two rows of history.
  // Fewer than the brake counts, since each comes back as another artist.
  ids = await shelveMany(database.sql, 190);
  await call(database.sql, 'apply_identity_response', {
    body: answerOf(ids.map((id) => verdict.resolved(id, 999))),
    requested: ids,
    origin: 'consumer:lml-bulk',
    verified_at: new Date(Date.now() - 10 * 86_400_000),
  });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

const settings = () => ({
  DATABASE_URL: database.url,
  LIBRARY_METADATA_URL: lml.url,
  BATCH_SIZE: '1',
  PLAN_CRON: NEVER,
  LML_CONCURRENCY: String(CONCURRENCY),
  // A lease ends twelve seconds after it began.
  LML_TIMEOUT_MS: '2000',
});

/** What each process holds at the moment, by its pid. */
async function held(): Promise<Map<string, number[]>> {
  const rows = await database.sql<{ pid: string; ids: number[] }[]>`
    select split_part(leased_by, ':', 2) as pid, array_agg(library_ids[1]) as ids
    from identity_sync.batch where leased_by is not null group by 1`;
  return new Map(rows.map((row) => [row.pid, row.ids]));
}

/** Kills a process at some moment of its work, and returns what was in its hands. */
async function killAtWork(victim: RunningCli): Promise<number[]> {
  await expect.poll(async () => (await held()).has(victim.pid), { interval: 10 }).toBe(true);
  await sleep(Math.random() * 400);
  victim.signal('SIGKILL');
  await victim.ended;
  return (await held()).get(victim.pid) ?? [];
}

/** Starts two workers that find nothing to do before both are up, so that neither carries the run alone. */
async function startTwoWorkers(runId: string): Promise<[RunningCli, RunningCli]> {
  const { sql } = database;
  await sql`update identity_sync.run set paused_until = now() + interval '1 hour' where run_id = ${runId}`;
  const workers: [RunningCli, RunningCli] = [
    startCli(['worker'], settings()),
    startCli(['worker'], settings()),
  ];
  for (const worker of workers) await worker.says('the worker is up');
  await sql`update identity_sync.run set paused_until = null where run_id = ${runId}`;
  await call(sql, 'enqueue_lanes', { run_id: runId, lanes: 2 * CONCURRENCY });
  return workers;
}

test('a run survives those who carry it: nothing is lost or written twice, and only what was in dead hands is asked again', async () => {
  const runId = await plan(database.sql, { batch_size: 1, lanes: CONCURRENCY });
  const inDeadHands = await killAtWork(startCli(['run'], settings()));

  // From here on one lives, while the other one dies beside it.
  const [victim] = await startTwoWorkers(runId);
  inDeadHands.push(...(await killAtWork(victim)));
  expect(inDeadHands.length).toBeGreaterThan(0);
  await expect.poll(async () => (await runOf(database.sql)).outcome).not.toBeNull();
  expect(await runOf(database.sql)).toMatchObject({ outcome: 'completed' });

  expect(await identified(database.sql)).toEqual(ids);
  expect(await candidates(database.sql)).toEqual([]);
  expect(await reportOf(database.sql)).toMatchObject({
    scanned: ids.length,
    identity: { changed: ids.length },
  });
  const history = await database.sql`
    select library_id from wxyc_schema.library_identity_history order by library_id`;
  expect(history.map((row) => row.library_id)).toEqual(ids);

  const asked = lml.askedIds();
  expect([...asked.keys()].sort((one, other) => one - other)).toEqual(ids);
  for (const id of inDeadHands) asked.set(id, asked.get(id)! - 1);
  expect(Math.max(...asked.values())).toBe(1);
  expect(lml.maxInFlight).toBeLessThanOrEqual(CONCURRENCY);
});
