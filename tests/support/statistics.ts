// What the tests of the planner's statistics share: many rows written at once, and how many the planner knows of.
import type postgres from 'postgres';
import { connect } from './database.js';
import { test as base } from './test.js';

/** Besides, the test's database with tables that autovacuum leaves alone. */
export const test = base.extend('filled', async ({ database }) => {
  await database.sql`alter table wxyc_schema.library_identity set (autovacuum_enabled = off)`;
  await database.sql`alter table identity_sync.attempt set (autovacuum_enabled = off)`;

  /** Changes both tables in a session of its own, since what a session has changed is counted at its end for certain. */
  async function change(work: (sql: postgres.Sql) => Promise<unknown>) {
    const sql = connect(database.url);
    await sql`set session_replication_role = replica`;
    await work(sql);
    await sql.end();
  }

  return {
    change,
    fill: (identities: number, marks: number) =>
      change(async (sql) => {
        await sql`
          insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
          select id, 'exact_match', 1, now() from generate_series(1, ${identities}::integer) as id`;
        await sql`
          insert into identity_sync.attempt (library_id, outcome, attempted_at)
          select id, 'unresolved', now() from generate_series(1, ${marks}::integer) as id`;
      }),
    /** The rows of both tables, as the planner knows them. */
    async known(): Promise<Record<string, number>> {
      const rows = await database.sql<{ relname: string; reltuples: number }[]>`
        select relname, reltuples from pg_class
        where oid in ('wxyc_schema.library_identity'::regclass, 'identity_sync.attempt'::regclass)`;
      return Object.fromEntries(rows.map((row) => [row.relname, row.reltuples]));
    },
  };
});
