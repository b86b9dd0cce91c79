// graphile-worker deletes a job that has ended well. One that a dead process has locked, and that is enqueued again, it
// never gives out any more, and keeps.
import { expect, test } from 'vitest';
import { call, plan } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';

const database = useDatabase();

test('the jobs that dead processes have left are deleted after so many days, and no other', async () => {
  const { sql } = database;
  await shelveMany(sql, 3);
  const runId = await plan(sql, { batch_size: 1, lanes: 3 });
  const enqueue = () => call(sql, 'enqueue_lanes', { run_id: runId, lanes: 3 });
  const left = await sql<{ id: string }[]>`
    update graphile_worker._private_jobs set locked_at = clock_timestamp(), locked_by = 'dead' returning id`;
  await enqueue();
  const jobs = () => sql`select locked_by, attempts = max_attempts as is_spent from graphile_worker.jobs`;
  const isLeft = { locked_by: 'dead', is_spent: true };
  const isDue = { locked_by: null, is_spent: false };
  expect(await jobs()).toEqual(expect.arrayContaining([isLeft, isLeft, isLeft, isDue, isDue, isDue]));

  await sql`
    update graphile_worker._private_jobs
    set updated_at = clock_timestamp() - interval '31 days', locked_at = locked_at - interval '31 days'
    where id <> ${left[0]!.id}`;
  await call(sql, 'prune_identity_sync', { keep_days: 30 });
  expect([...(await jobs())]).toEqual(expect.arrayContaining([isLeft, isDue, isDue, isDue]));
  expect(await jobs()).toHaveLength(4);
});
