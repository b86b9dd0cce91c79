// A large run leaves statistics behind that the next plan can rely on, be autovacuum off or late.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call } from '../support/catalogue.js';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
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

/** Fills both tables, one of them by more than a thousand rows. */
async function fill(identities: number, marks: number) {
  await database.sql`set session_replication_role = replica`;
  await database.sql`
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    select id, 'exact_match', 1, now() from generate_series(1, ${identities}::integer) as id`;
  await database.sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select id, 'unresolved', now() from generate_series(1, ${marks}::integer) as id`;
  await database.sql`reset session_replication_role`;
}

async function known() {
  const rows = await database.sql<{ relname: string; reltuples: number }[]>`
    select relname, reltuples from pg_class
    where oid in ('wxyc_schema.library_identity'::regclass, 'identity_sync.attempt'::regclass)`;
  return Object.fromEntries(rows.map((row) => [row.relname, row.reltuples]));
}

test('a table is analyzed once a tenth and a thousand of its rows have changed, and others are left alone', async () => {
  const { attempt } = await known();
  await fill(1500, 900);

  // What a session has changed is counted a second later.
  await expect
    .poll(
      async () => {
        await call(database.sql, 'analyze_filled_tables');
        return known();
      },
      { timeout: 10_000, interval: 500 },
    )
    .toEqual({ library_identity: 1500, attempt });
});

test('of a large table a thousand rows are no tenth', async () => {
  const analyzed = async () => {
    await call(database.sql, 'analyze_filled_tables');
    return known();
  };
  await fill(0, 20_000);
  await expect.poll(analyzed, { timeout: 10_000, interval: 500 }).toMatchObject({ attempt: 20_000 });

  await database.sql`delete from identity_sync.attempt where library_id <= 1500`;
  await fill(1500, 0);
  await expect
    .poll(analyzed, { timeout: 10_000, interval: 500 })
    .toEqual({ library_identity: 1500, attempt: 20_000 });
});

test('the worker does so as it tends', async () => {
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: 'http://127.0.0.1:9' };
  await startCli(['worker'], { ...settings, PLAN_CRON: NEVER }).says('the worker is up');
  await fill(1500, 0);

  await expect
    .poll(
      async () => {
        await addJob(database.sql, 'tend_identity_runs');
        return (await known()).library_identity;
      },
      { timeout: 10_000, interval: 500 },
    )
    .toBe(1500);
});
