// A large run leaves statistics behind that the next plan can rely on, be autovacuum off or late.
import type postgres from 'postgres';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
  await database.sql`alter table wxyc_schema.library_identity set (autovacuum_enabled = off)`;
  await database.sql`alter table identity_sync.attempt set (autovacuum_enabled = off)`;
});
afterEach(async () => {
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

test('a table is analyzed once a tenth and a thousand of its rows have changed, and others are left alone', async () => {
  const { attempt } = await known();
  await fill(1500, 900);

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

  // PostgreSQL 14 hands out what it counted half a second ago.
  await expect
    .poll(
      () => database.sql`
        select n_mod_since_analyze::integer as changed from pg_stat_user_tables
        where relid = 'identity_sync.attempt'::regclass`,
      { timeout: 10_000, interval: 100 },
    )
    .toEqual([{ changed: 0 }]);

  await change((sql) => sql`delete from identity_sync.attempt where library_id <= 1500`);
  await fill(1500, 0);
  await expect
    .poll(analyzed, { timeout: 10_000, interval: 500 })
    .toEqual({ library_identity: 1500, attempt: 20_000 });
});
