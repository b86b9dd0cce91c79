// Open runs go on after a process has died: leases end, deadlines pass, lanes are there.
import { beforeEach, expect, test } from 'vitest';
import { call, claim, plan, shelveAll, untilWaiting } from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';

const database = useDatabase();

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  await noLanes();
});

const noLanes = () =>
  database.sql`select graphile_worker.complete_jobs(array(select id from graphile_worker.jobs))`;

async function rescue(lanes = 2) {
  const [row] = await call<{ rescue_identity_runs: number }>(database.sql, 'rescue_identity_runs', { lanes });
  return row!.rescue_identity_runs;
}

async function runs() {
  const rows = await database.sql`select outcome, stop_cause from identity_sync.run order by run_id`;
  return rows.map((row) => ({ ...row }));
}

async function lanes() {
  const jobs = await database.sql`
    select from graphile_worker.jobs where task_identifier = 'carry_identity_run'`;
  return jobs.length;
}

test('a batch whose lease ran out is open again, and one that is held is left alone', async () => {
  await shelveAll(database.sql, 'Stereolab', 'Broadcast');
  const runId = await plan(database.sql, { batch_size: 1 });
  const dead = await claim(database.sql, runId, { leased_by: 'dead' });
  const held = await claim(database.sql, runId, { leased_by: 'alive' });
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() - interval '1 second'
    where batch_id = ${dead.batch_id}`;

  expect(await rescue()).toBe(1);

  const batches =
    await database.sql`select batch_id, state, leased_by from identity_sync.batch order by batch_id`;
  expect([...batches]).toEqual([
    { batch_id: dead.batch_id, state: 'open', leased_by: null },
    { batch_id: held.batch_id, state: 'in_flight', leased_by: 'alive' },
  ]);
});

test('a run without lanes gets them, and calling again adds none', async () => {
  await shelveAll(database.sql, 'Stereolab', 'Broadcast', 'Laika');
  await plan(database.sql, { batch_size: 1 });
  await noLanes();

  await rescue(2);
  expect(await lanes()).toBe(2);

  await rescue(2);
  expect(await lanes()).toBe(2);
});

test('a run past its deadline stops, and says that it was the deadline', async () => {
  await shelveAll(database.sql, 'Stereolab');
  await plan(database.sql);
  await database.sql`update identity_sync.run set deadline_at = clock_timestamp() - interval '1 second'`;

  await rescue();

  expect(await runs()).toEqual([{ outcome: 'stopped', stop_cause: 'deadline' }]);
});

test('a run that is stopping ends once what was in flight has died', async () => {
  await shelveAll(database.sql, 'Stereolab');
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough for today' });
  expect(await runs()).toMatchObject([{ outcome: null }]);
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() where batch_id = ${batch_id}`;

  await rescue();

  expect(await runs()).toMatchObject([{ outcome: 'stopped' }]);
  expect(await database.sql`select from identity_sync.batch where state <> 'abandoned'`).toHaveLength(0);
});

test('where no run is open there is nothing to do', async () => {
  expect(await rescue()).toBe(0);
  expect(await lanes()).toBe(0);
});

test('tells who lives, its version and when it plans, and takes no turn from anybody', async () => {
  const { sql } = database;
  await sql`truncate identity_sync.worker`;
  await sql`insert into identity_sync.worker (name, turns, concurrency) values ('station:1', 40, 2)`;
  const rescueAs = (name: string) => sql`
    select identity_sync.rescue_identity_runs(
      lanes => 2, worker => ${name}, version => '0.1.0', plan_cron => '17 3 * * *')`;
  await rescueAs('station:1');
  await rescueAs('station:2');
  await rescue();

  const workers = await sql`
    select name, turns, version, plan_cron, seen_at > clock_timestamp() - interval '1 minute' as is_seen
    from identity_sync.worker order by name`;
  const said = { version: '0.1.0', plan_cron: '17 3 * * *', is_seen: true };
  expect([...workers]).toEqual([
    { name: 'station:1', turns: '40', ...said },
    { name: 'station:2', turns: '0', ...said },
  ]);
});

test('a rescue that waits for a claim of its own worker holds nothing that the claim needs', async () => {
  await shelveAll(database.sql, 'Stereolab');
  const runId = await plan(database.sql);
  const rescuing = { lanes: 1, worker: 'host:1' };
  await call(database.sql, 'rescue_identity_runs', rescuing);
  const session = connect(database.url);
  await session
    .begin(async (sql) => {
      // A claim that has begun, and has not taken its worker's turn yet.
      await sql`lock table identity_sync.claim_mutex in exclusive mode`;
      const rescue = call(database.sql, 'rescue_identity_runs', rescuing);
      rescue.catch(() => {});
      await untilWaiting(database.sql);
      await claim(sql, runId, { leased_by: 'host:1:7' });
      return { rescue };
    })
    .then(({ rescue }) => rescue);
});
