// A table of the queue that a worker cannot work with is named: one without a grant, or without a policy.
import { expect, test } from 'vitest';
import { connect, useDatabase, useLogin } from '../../support/database.js';
import { useRoles } from '../../support/roles.js';

const roles = useRoles();
const worker = useLogin();
const database = useDatabase();

test('nothing is closed to a worker, until a grant or a policy is gone', async () => {
  await roles.run(database.url, { worker: worker.name });
  const sql = connect(worker.into(database));
  const closed = async () => {
    const [row] = await sql`select identity_sync_private.closed_queue() as closed`;
    return row!.closed;
  };
  expect(await closed()).toBeNull();

  await database.sql.unsafe(
    `drop policy identity_worker_${roles.worker.split('_').at(-1)} on graphile_worker._private_tasks`,
  );
  expect(await closed()).toBe('_private_tasks');
  await database.sql`create policy everybody on graphile_worker._private_tasks to public using (true)`;
  expect(await closed()).toBeNull();
  await database.sql`drop policy everybody on graphile_worker._private_tasks`;
  await database.sql.unsafe(`revoke update on graphile_worker._private_jobs from ${roles.worker}`);
  expect(await closed()).toBe('_private_jobs, _private_tasks');
});
