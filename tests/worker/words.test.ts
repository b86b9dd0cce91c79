// What graphile-worker says goes to the log, which shows no login, in no line.
import { expect } from 'vitest';
import { test } from '../support/test.js';

test('a job that fails shows no login that its error names', async ({ cli, database: { sql } }) => {
  await sql.unsafe(`
    create or replace function identity_sync.prune_identity_sync(keep_days integer) returns void language plpgsql
    as $$ begin raise exception 'no way to postgres://bob:hunter2@db'; end $$`);
  const worker = await cli.worker();
  await sql`select graphile_worker.add_job('prune_identity_sync')`;
  await worker.says('no way to postgres://db');
  worker.signal('SIGTERM');
  expect((await worker.ended).stderr).not.toContain('hunter2');
});
