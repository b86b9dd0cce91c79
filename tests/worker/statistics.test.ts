// The worker keeps the planner's statistics fresh, be autovacuum off or late.
import type postgres from 'postgres';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, connect, type TestDatabase } from '../support/database.js';
import { addJob, NEVER } from '../support/faults.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
  await database.sql`alter table wxyc_schema.library_identity set (autovacuum_enabled = off)`;
  await database.sql`alter table identity_sync.attempt set (autovacuum_enabled = off)`;
});
afterEach(async () => {
  await killLeftovers();
  await database.drop();
});

/** Changes both tables in a session of its own, since what a session has changed is counted at its end for certain. */
async function change(work: (sql: postgres.Sql) => Promise<unknown>) {
  const sql = connect(database.url);
  await sql`set session_replication_role = replica`;
  await work(sql);
  await sql.end();
}

const fill = (identities: number, marks: number) =>
  change(async (sql) => {
    await sql`
      insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
      select id, 'exact_match', 1, now() from generate_series(1, ${identities}::integer) as id`;
    await sql`
      insert into identity_sync.attempt (library_id, outcome, attempted_at)
      select id, 'unresolved', now() from generate_series(1, ${marks}::integer) as id`;
  });

async function known() {
  const rows = await database.sql<{ relname: string; reltuples: number }[]>`
    select relname, reltuples from pg_class
    where oid in ('wxyc_schema.library_identity'::regclass, 'identity_sync.attempt'::regclass)`;
  return Object.fromEntries(rows.map((row) => [row.relname, row.reltuples]));
}

test('the worker analyzes what was filled, as it rescues runs', async () => {
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: 'http://127.0.0.1:9' };
  await startCli(['worker'], { ...settings, PLAN_CRON: NEVER }).says('the worker is up');
  await fill(1500, 0);

  await expect
    .poll(
      async () => {
        await addJob(database.sql, 'rescue_identity_runs');
        return (await known()).library_identity;
      },
      { timeout: 10_000, interval: 500 },
    )
    .toBe(1500);
});
