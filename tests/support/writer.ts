// What the tests of the writer share: a small catalogue, verdicts as LML sends them, the calls of the service and of
// an operator, and what the tables hold afterwards.
import type postgres from 'postgres';
import { beforeEach, expect } from 'vitest';
import { shelveRows } from './catalogue.js';
import { connect, useDatabase } from './database.js';
import type { Report } from './report.js';
import { DILATE, ERASER, type Fields, NEW_AMERYKAH, SANGOMA, toText, VARIOUS } from './verdicts.js';

export * from './report.js';
export * from './verdicts.js';

export const SERVICE = 'consumer:lml-bulk';
export const REPAIR = 'repair:music-director';

export const MONDAY = new Date('2026-11-02T08:00:00Z');
export const TUESDAY = new Date('2026-11-03T08:00:00Z');
export const WEDNESDAY = new Date('2026-11-04T08:00:00Z');

const CATALOGUE = [
  { id: DILATE, artist_name: 'Ani DiFranco', album_title: 'Dilate' },
  { id: SANGOMA, artist_name: 'Miriam Makeba', album_title: 'Sangoma' },
  { id: ERASER, artist_name: 'Thom Yorke', album_title: 'The Eraser' },
  { id: NEW_AMERYKAH, artist_name: 'Erykah Badu', album_title: 'New Amerykah, Pt. 2: return of the Ankh' },
  { id: VARIOUS, artist_name: 'Various Artists - Rock - B', album_title: 'Bummed Out Christmas' },
];

export interface Circumstances {
  requested?: (number | null)[] | null;
  origin?: string | null;
  verifiedAt?: Date | string | null;
  strictBands?: boolean | null;
}

/** Calls a function of the writer with the named arguments that are given, so that the others take their defaults. */
async function call(
  sql: postgres.Sql,
  head: postgres.PendingQuery<postgres.Row[]>,
  { requested, origin, verifiedAt, strictBands }: Circumstances,
): Promise<Report> {
  const at = verifiedAt instanceof Date ? verifiedAt.toISOString() : verifiedAt;
  const [row] = await sql<[{ report: Report }]>`
    select ${head}
      ${requested === undefined ? sql`` : sql`, requested => ${requested}::integer[]`}
      ${origin === undefined ? sql`` : sql`, origin => ${origin}`}
      ${at === undefined ? sql`` : sql`, verified_at => ${at}::text::timestamptz`}
      ${strictBands === undefined ? sql`` : sql`, strict_bands => ${strictBands}`}
    ) as report`;
  return row.report;
}

/** Applies an answer that is JSON, with nothing but the arguments given. */
export function apply(sql: postgres.Sql, response: unknown, circumstances: Circumstances = {}) {
  const text = toText(response);
  return call(
    sql,
    sql`identity_sync.apply_identity_verdicts(response => ${text}::text::jsonb`,
    circumstances,
  );
}

/** Applies an answer that is text, with nothing but the arguments given. */
export function applyText(sql: postgres.Sql, body: string | null, circumstances: Circumstances = {}) {
  return call(sql, sql`identity_sync.apply_identity_response(body => ${body}::text`, circumstances);
}

/** The ids that a list of verdicts names, as the service would have asked for them. */
function named(verdicts: Fields[]): number[] {
  return [...new Set(verdicts.map((verdict) => verdict.library_id as number))];
}

/** Applies verdicts as the service does: these ids were asked, and this is its origin. */
export function service(sql: postgres.Sql, verdicts: Fields[], circumstances: Circumstances = {}) {
  return apply(
    sql,
    { results: verdicts },
    { requested: named(verdicts), origin: SERVICE, verifiedAt: MONDAY, ...circumstances },
  );
}

/** Applies verdicts as an operator does by hand: nothing was asked. */
export function repair(sql: postgres.Sql, verdicts: Fields[], circumstances: Circumstances = {}) {
  return apply(sql, verdicts, { origin: REPAIR, verifiedAt: MONDAY, ...circumstances });
}

/** Waits until a session hangs on a lock that another one holds. */
export async function untilBlocked(sql: postgres.Sql, session: { pid: number }) {
  const isBlocked = async () => {
    const blockers = await sql`select from unnest(pg_blocking_pids(${session.pid}))`;
    return blockers.length > 0;
  };
  await expect.poll(isBlocked, { interval: 5 }).toBe(true);
}

/**
 * Gives the calling file a database that holds nothing but the catalogue before each test, and readers for what the
 * writer leaves in it. Foreign constraints and triggers belong into the schema `station`, which goes after each test.
 */
export function useWriter() {
  const database = useDatabase();
  let recorded: string;

  beforeEach(async () => {
    const { sql } = database;
    await sql.unsafe(`
      do $$ begin
        -- A schema that comes or goes makes every session plan all that it runs anew: a third more of the server's work.
        if exists (
          select from pg_depend where refclassid = 'pg_namespace'::regclass and refobjid = to_regnamespace('station')
        ) then
          drop schema station cascade;
        end if;
        create schema if not exists station;
      end $$;
      delete from wxyc_schema.library_identity_source;
      delete from wxyc_schema.library_identity;
      delete from wxyc_schema.library_identity_history;
      delete from wxyc_schema.library;
      delete from wxyc_schema.artists;
      delete from identity_sync.superseded_source;
      delete from identity_sync.attempt;
      delete from identity_sync.asked_as;
      delete from identity_sync.quarantined_verdict;
      delete from identity_sync.settlement;
      insert into wxyc_schema.artists (id, artist_name) values (1, 'Unnamed');`);
    await shelveRows(sql, CATALOGUE);
    recorded ??= await recordedTables(sql);
  });

  return {
    get sql() {
      return database.sql;
    },

    get url() {
      return database.url;
    },

    apply: (response: unknown, circumstances?: Circumstances) => apply(database.sql, response, circumstances),
    applyText: (body: string | null, circumstances?: Circumstances) =>
      applyText(database.sql, body, circumstances),
    service: (verdicts: Fields[], circumstances?: Circumstances) =>
      service(database.sql, verdicts, circumstances),
    repair: (verdicts: Fields[], circumstances?: Circumstances) =>
      repair(database.sql, verdicts, circumstances),

    /** Opens a session of its own, which knows its process id so that others can watch it wait. */
    async session() {
      const sql = connect(database.url);
      const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
      return { sql, pid };
    },

    /**
     * Has another session do something in a transaction that stays open, applies verdicts that must wait for it, and
     * lets it commit. The report is that of the session which had to wait.
     */
    async meanwhile(
      theirs: (sql: postgres.Sql) => PromiseLike<unknown>,
      verdicts: Fields[],
    ): Promise<Report> {
      const [them, us] = [await this.session(), await this.session()];
      try {
        await them.sql`begin`;
        await theirs(them.sql);
        const application = service(us.sql, verdicts, { verifiedAt: TUESDAY });
        await Promise.race([untilBlocked(database.sql, us), application]);
        await them.sql`commit`;
        return await application;
      } finally {
        // A transaction left open would hold up every test to come; after a commit this is a warning.
        await them.sql`rollback`;
      }
    },

    /** The main row of a record, less the column that PostgreSQL computes. */
    async identity(id: number): Promise<Fields | undefined> {
      const [row] = await database.sql`select * from wxyc_schema.library_identity where library_id = ${id}`;
      const { distinct_unresolved_sources: _, ...identity } = row ?? {};
      return row && identity;
    },

    /** The source rows of a record by their source. */
    async sources(id: number): Promise<Record<string, Fields>> {
      const rows =
        await database.sql`select * from wxyc_schema.library_identity_source where library_id = ${id}`;
      return Object.fromEntries(rows.map(({ library_id: _, source, ...row }) => [source, row]));
    },

    /** What the main row of a record was before, the oldest first. */
    async history(id: number): Promise<Fields[]> {
      const rows = await database.sql`
        select * from wxyc_schema.library_identity_history where library_id = ${id} order by history_id`;
      return rows.map(({ history_id: _id, superseded_at: _at, archived_at: _archived, ...row }) => row);
    },

    /** What the source rows of a record were before, by source. */
    async superseded(id: number): Promise<Fields[]> {
      const rows = await database.sql`
        select * from identity_sync.superseded_source where library_id = ${id} order by superseded_id`;
      return rows.map(
        ({ superseded_id: _id, settlement_id: _settlement, superseded_at: _at, ...row }) => row,
      );
    },

    /** What was requested without success, and when. */
    async attempts(): Promise<Fields[]> {
      const rows = await database.sql`
        select library_id, outcome, attempted_at from identity_sync.attempt order by library_id`;
      return [...rows];
    },

    /** What an operator sees in quarantine: the value as PostgreSQL writes it, the verdict as it came. */
    async quarantine(): Promise<Fields[]> {
      const rows = await database.sql`
        select library_id, outcome, reason, path, value::text, sqlstate, message, constraint_name, verdict, origin,
          verified_at
        from identity_sync.quarantine
        order by library_id`;
      return [...rows];
    },

    /**
     * Every row of every table but those that record calls, with the transaction that wrote it: equal before
     * and after means that nothing was written, not even the same once more.
     */
    async everything(): Promise<unknown> {
      return await database.sql.unsafe(recorded);
    },
  };
}

export type Writer = ReturnType<typeof useWriter>;

/** The query for `everything`. */
async function recordedTables(sql: postgres.Sql): Promise<string> {
  const tables = await sql`
    select format('%I.%I', schemaname, tablename) as name
    from pg_tables
    where schemaname in ('wxyc_schema', 'identity_sync')
      and tablename not in (
        'asked_as', 'attempt', 'brake_memory', 'library_lock', 'quarantined_verdict', 'run', 'settlement'
      )
    order by name`;
  return tables
    .map(
      ({ name }) => `
        select '${name}' as table, jsonb_agg(to_jsonb(t) || jsonb_build_object('written by', t.xmin::text) order by t::text)
        from ${name} as t`,
    )
    .join(' union all ');
}
