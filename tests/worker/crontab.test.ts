// The crontab's three tasks, set off by hand: planning what is due, rescuing what is open, pruning what is over.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, claim, plan, verdict } from '../support/catalogue.js';
import { holdAnswers, killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { addJob, identified, NEVER, reportOf, runOf, shelveMany } from '../support/faults.js';

const MINUTE = 60_000;

let database: TestDatabase;
let lml: StandIn;
let answers: ReturnType<typeof holdAnswers> | null = null;

beforeAll(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities: loadIdentities() });
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, PLAN_CRON: NEVER };
  startCli(['worker'], { ...settings, BATCH_SIZE: '1' });
});
afterAll(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});
beforeEach(
  () => database.sql`truncate wxyc_schema.library, identity_sync.run, identity_sync.attempt cascade`,
);
afterEach(async () => {
  answers?.letGo();
  lml.respondWith(null);
  await untilNoJobs();
});

/** Waits until the worker has done all it was given. */
async function untilNoJobs() {
  await expect.poll(() => database.sql`select from graphile_worker.jobs`).toHaveLength(0);
}

async function runs() {
  const rows = await database.sql`select outcome, scope, planned from identity_sync.run order by run_id`;
  return rows.map((row) => ({ ...row }));
}

test('has an entry for each of them', async () => {
  const known = async () => {
    const items =
      await database.sql`select identifier from graphile_worker._private_known_crontabs order by 1`;
    return items.map((item) => item.identifier);
  };
  await expect.poll(known).toEqual(['plan_identity_run', 'prune_identity_sync', 'rescue_identity_runs']);
});

describe('planning', () => {
  test.each([
    ['by a job without a tick', undefined],
    ['by a tick of a moment ago', new Date(Date.now() - MINUTE)],
  ])('plans a run of what is due, which is carried to its end: %s', async (_, firedAt) => {
    const ids = await shelveMany(database.sql, 3);
    await addJob(database.sql, 'plan_identity_run', firedAt);
    await expect.poll(runs).toEqual([{ outcome: 'completed', scope: 'due', planned: 3 }]);
    expect(await identified(database.sql)).toEqual(ids);
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('does nothing at a tick of more than fifteen minutes ago', async () => {
    const ids = await shelveMany(database.sql, 3);
    await addJob(database.sql, 'plan_identity_run', new Date(Date.now() - 16 * MINUTE));
    await untilNoJobs();
    expect(await runs()).toEqual([]);
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test('joins the run that is open, and doubles nothing', async () => {
    const ids = await shelveMany(database.sql, 3);
    answers = holdAnswers(lml);
    const asked = lml.calls.length;
    await addJob(database.sql, 'plan_identity_run');
    await expect.poll(() => lml.calls.length - asked).toBe(2);
    // One after another, since none of them may wait for lanes that are at work.
    for (const _ of [1, 2, 3]) {
      await addJob(database.sql, 'plan_identity_run');
      const left = () =>
        database.sql`select from graphile_worker.jobs where task_identifier = 'plan_identity_run'`;
      await expect.poll(left).toHaveLength(0);
    }
    answers.letGo();

    await expect.poll(runs).toEqual([{ outcome: 'completed', scope: 'due', planned: 3 }]);
    // Two calls that begin together arrive in any order.
    const requested = lml.calls.slice(asked).flatMap((call) => call.ids);
    expect(requested.sort((one, other) => one - other)).toEqual(ids);
  });

  test('of nothing is a run that is over at once, without a call', async () => {
    const asked = lml.calls.length;
    await addJob(database.sql, 'plan_identity_run');
    await untilNoJobs();
    expect(await runs()).toEqual([{ outcome: 'completed', scope: 'due', planned: 0 }]);
    expect(lml.calls).toHaveLength(asked);
  });
});

test('rescuing takes up what dead processes left behind: a lease that ran out, and lanes that are in no queue', async () => {
  const ids = await shelveMany(database.sql, 3);
  // No worker knows of this run, and a dead process holds its first batch.
  await database.sql.begin(async (tx) => {
    const runId = await plan(tx, { batch_size: 1 });
    await claim(tx, runId, { leased_by: 'dead:1:1', lease_ms: 0 });
    await tx`select graphile_worker.complete_jobs(array_agg(id)) from graphile_worker.jobs`;
  });
  await addJob(database.sql, 'rescue_identity_runs');

  await expect.poll(runs).toEqual([{ outcome: 'completed', scope: 'due', planned: 3 }]);
  expect(await identified(database.sql)).toEqual(ids);
});

test('rescuing ends a run that has nothing unfinished, and one whose deadline has passed', async () => {
  const ids = await shelveMany(database.sql, 3);
  await database.sql.begin(async (tx) => {
    const finished = await plan(tx, { scope: 'refresh', ids: ids.slice(0, 1) });
    await tx`update identity_sync.batch set state = 'abandoned', closed_at = now() where run_id = ${finished}`;
    const late = await plan(tx, { ids: ids.slice(1) });
    await tx`update identity_sync.run set deadline_at = now() where run_id = ${late}`;
    await tx`select graphile_worker.complete_jobs(array_agg(id)) from graphile_worker.jobs`;
  });
  const asked = lml.calls.length;
  await addJob(database.sql, 'rescue_identity_runs');

  await expect.poll(runs).toMatchObject([{ outcome: 'completed' }, { outcome: 'stopped' }]);
  expect(lml.calls).toHaveLength(asked);
});

describe('tidying', () => {
  test('clears away old batches and closed quarantine, and neither history nor what undoing needs', async () => {
    const [changed, unsure, refused] = await shelveMany(database.sql, 3);
    // The second run finds another id for one record, and takes what the first refused; the third is of late.
    await carry([verdict.resolved(changed!), verdict.resolved(unsure!), verdict.invalid(refused!)]);
    await carry([verdict.resolved(changed!, 77), verdict.invalid(unsure!), verdict.resolved(refused!)]);
    await database.sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
    await database.sql`update identity_sync.quarantined_verdict set closed_at = closed_at - interval '31 days'`;
    await carry([verdict.resolved(changed!, 78), verdict.invalid(unsure!), verdict.resolved(refused!)]);
    await untilNoJobs();
    const before = await tables();
    expect(before.history).toHaveLength(2);

    await addJob(database.sql, 'prune_identity_sync');
    await untilNoJobs();

    const after = await tables();
    const [first, second, latest] = before.runs.map((run) => run.run_id);
    expect([first, second, latest]).toHaveLength(3);
    expect(after).toEqual({
      ...before,
      runs: before.runs.map((run) =>
        run.run_id === latest ? run : { ...run, batches_pruned_at: expect.any(Date) },
      ),
      batches: before.batches.filter((batch) => batch.run_id === latest),
      calls: before.calls.slice(-1),
      // Closed long ago: what the first run refused. Closed of late: what the second did, and the third refused again.
      quarantine: before.quarantine.filter((entry) => entry.library_id !== refused),
    });
    expect(after.quarantine.map((entry) => entry.closed_at !== null)).toEqual([true, false]);
  });

  /** A run over all records, of which LML says this. */
  async function carry(results: object[]) {
    const body = JSON.stringify({ results });
    lml.respondWith(() => ({ body }));
    const runId = await plan(database.sql, { scope: 'refresh' });
    await expect.poll(async () => (await runOf(database.sql, runId)).outcome).toBe('completed');
  }

  async function tables() {
    const { sql } = database;
    const runs = await sql`select * from identity_sync.run order by run_id`;
    return {
      runs,
      reports: await Promise.all(runs.map((run) => reportOf(sql, run.run_id))),
      batches: await sql`select * from identity_sync.batch order by batch_id`,
      calls: await sql`select * from identity_sync.lml_call order by call_id`,
      settlements: await sql`select * from identity_sync.settlement order by settlement_id`,
      attempts: await sql`select * from identity_sync.attempt order by library_id`,
      quarantine: await sql`select * from identity_sync.quarantined_verdict order by quarantine_id`,
      superseded: await sql`select * from identity_sync.superseded_source order by 1`,
      identities: await sql`select * from wxyc_schema.library_identity order by library_id`,
      history: await sql`select * from wxyc_schema.library_identity_history order by history_id`,
    };
  }
});
