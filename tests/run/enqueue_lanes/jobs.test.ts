// Spare lanes do no harm, yet their jobs never pile up: a run has as many as it can use, however often they are asked for.
import { beforeEach, expect } from 'vitest';
import { call, claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import type { TestDatabase } from '../../support/database.js';
import { test } from '../../support/test.js';

beforeEach<{ database: TestDatabase }>(async ({ database }) => {
  await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
});

/** Opens a run with a batch a record and takes the jobs away that this enqueued. */
async function planned({ sql }: TestDatabase): Promise<string> {
  const runId = await plan(sql, { batch_size: 1 });
  await sql`select graphile_worker.complete_jobs(array_agg(id)) from graphile_worker.jobs`;
  return runId;
}

/** The jobs that wait in the queue, by their keys. */
async function jobs({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql`
    select key from graphile_worker.jobs where task_identifier = 'carry_identity_run' order by key`;
  return rows.map(({ key }) => key);
}

test('each lane is a job of its run', async ({ database }) => {
  const runId = await planned(database);
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 2 });
  expect(await jobs(database)).toEqual([`carry_identity_run:${runId}:1`, `carry_identity_run:${runId}:2`]);
});

test('lanes that wait already are not enqueued twice', async ({ database }) => {
  const runId = await planned(database);
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 2 });
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 3 });
  expect(await jobs(database)).toHaveLength(3);
});

test('a run gets no more lanes than it has unfinished batches', async ({ database }) => {
  const runId = await planned(database);
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 32 });
  expect(await jobs(database)).toHaveLength(2);
});

test('a run that is stopping gets none', async ({ database }) => {
  const runId = await planned(database);
  await claim(database.sql, runId);
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 2 });
  expect(await jobs(database)).toEqual([]);
});

test('they begin at the time that is given', async ({ database }) => {
  const runId = await planned(database);
  await call(database.sql, 'enqueue_lanes', { run_id: runId, lanes: 1, run_at: '2037-01-01T00:00:00Z' });
  const [job] = await database.sql`select run_at from graphile_worker.jobs`;
  expect(job!.run_at).toEqual(new Date('2037-01-01T00:00:00Z'));
});
