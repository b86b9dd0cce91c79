// What the tests of the writer share: a small catalogue, verdicts as LML sends them, the calls of the service and of
// an operator, and what the tables hold afterwards.
import type postgres from 'postgres';
import { beforeEach, expect } from 'vitest';
import { connect, useDatabase } from './database.js';

export const SERVICE = 'consumer:lml-bulk';
export const REPAIR = 'repair:music-director';

export const MONDAY = new Date('2026-11-02T08:00:00Z');
export const TUESDAY = new Date('2026-11-03T08:00:00Z');
export const WEDNESDAY = new Date('2026-11-04T08:00:00Z');

// Records of the station, by the ids that its library gives them.
export const DILATE = 18114;
export const SANGOMA = 46072;
export const ERASER = 43076;
export const NEW_AMERYKAH = 56611;
export const VARIOUS = 512;
/** An id that the library has given to no record. */
export const NOWHERE = 4_000_000;

const CATALOGUE = [
  { id: DILATE, artist_name: 'Ani DiFranco', album_title: 'Dilate' },
  { id: SANGOMA, artist_name: 'Miriam Makeba', album_title: 'Sangoma' },
  { id: ERASER, artist_name: 'Thom Yorke', album_title: 'The Eraser' },
  { id: NEW_AMERYKAH, artist_name: 'Erykah Badu', album_title: 'New Amerykah, Pt. 2: return of the Ankh' },
  { id: VARIOUS, artist_name: 'Various Artists - Rock - B', album_title: 'Bummed Out Christmas' },
];

const IDENTITIES: Record<number, { discogs: number; spotify: string }> = {
  [DILATE]: { discogs: 11442, spotify: '0AiTwNtYX8m4uhfU7rJ8RD' },
  [SANGOMA]: { discogs: 76040, spotify: '18RkLKfeoUgZflWv9os25W' },
  [ERASER]: { discogs: 4854, spotify: '4CvTDPKA6W06DRfBnZKrau' },
  [NEW_AMERYKAH]: { discogs: 10995, spotify: '7IfculRW2WXyzNQ8djX8WX' },
};

export type Fields = Record<string, unknown>;

/** JSON that no JavaScript value can hold, such as 1e400 or a lone surrogate: `toText` puts it in as it stands. */
export class Verbatim {
  constructor(readonly text: string) {}

  toJSON() {
    return `verbatim<${this.text}>`;
  }
}

/** The text of a JSON value, as it would come off the wire. */
export function toText(value: unknown): string {
  return JSON.stringify(value).replace(/"verbatim<(.*?)>"/g, (_, text) => JSON.parse(`"${text}"`));
}

/** One source's part in a verdict. */
export function leg(source: string, external_id: unknown, changes: Fields = {}): Fields {
  return { source, method: 'exact_match', confidence: 1, external_id, ...changes };
}

/** What LML says of a record whose artist it knows from two sources, unset fields being null as in production. */
export function singleArtist(library_id: number, changes: Fields = {}): Fields {
  const known = IDENTITIES[library_id] ?? { discogs: library_id, spotify: `spotify-${library_id}` };
  return {
    kind: 'single_artist',
    library_id,
    main: {
      discogs_artist_id: known.discogs,
      musicbrainz_artist_id: null,
      wikidata_qid: null,
      spotify_artist_id: known.spotify,
      apple_music_artist_id: null,
      bandcamp_id: null,
    },
    method: 'cross_source_agreement',
    confidence: 0.97,
    provenance: [
      leg('discogs', String(known.discogs)),
      leg('spotify', known.spotify, { method: 'name_variation', confidence: 0.95 }),
    ],
    tracks_attempted: false,
    tracks: [],
    ...changes,
  };
}

/** The same with some of the ids of its main row changed. */
export function withMain(verdict: Fields, changes: Fields): Fields {
  return { ...verdict, main: { ...(verdict.main as Fields), ...changes } };
}

/** What LML says of a record that none of its sources knows. */
export function unresolved(library_id: number, changes: Fields = {}): Fields {
  return {
    kind: 'unresolved',
    library_id,
    main: null,
    method: null,
    confidence: null,
    provenance: [],
    tracks_attempted: null,
    tracks: null,
    ...changes,
  };
}

/** What LML says of a compilation whose tracks its matcher has not visited. */
export function compilation(library_id: number, changes: Fields = {}): Fields {
  return unresolved(library_id, { kind: 'compilation', tracks_attempted: false, tracks: [], ...changes });
}

const NOTHING = {
  rows_resolved: 0,
  rows_resolved_compilation: 0,
  rows_unresolved: 0,
  rows_skipped: {
    compilation: 0,
    lml_error: 0,
    writer_error: 0,
    lml_cardinality_mismatch: 0,
    lml_untrusted_library_id: 0,
    invalid_verdict: 0,
    manual_precedence: 0,
    stale_verdict: 0,
    library_gone: 0,
    poison_input: 0,
  },
  source_rows_skipped_null_confidence: 0,
  source_rows_skipped_duplicate: 0,
  source_rows_out_of_band: 0,
  identity: { inserted: 0, changed: 0, unchanged: 0 },
  source: { inserted: 0, changed: 0, unchanged: 0, removed: 0 },
  compilation_track: {
    written: 0,
    unlinked: 0,
    unchanged: 0,
    librarian: 0,
    no_cta_match: 0,
    no_resolved_name: 0,
    unusable: 0,
    no_catalog_artist: 0,
    ambiguous_position: 0,
    position_written: 0,
    confidence_out_of_range: 0,
  },
};

export type Report = typeof NOTHING & { scanned: number };

type Counted = { [Key in keyof typeof NOTHING]?: Partial<(typeof NOTHING)[Key]> };

/** The whole report with these numbers in it, every other one 0, and what was scanned by the rule that all sums up. */
export function reported(counted: Counted): Report {
  const report = {
    ...NOTHING,
    ...counted,
    rows_skipped: { ...NOTHING.rows_skipped, ...counted.rows_skipped },
    identity: { ...NOTHING.identity, ...counted.identity },
    source: { ...NOTHING.source, ...counted.source },
    compilation_track: { ...NOTHING.compilation_track, ...counted.compilation_track },
  };
  const skipped = Object.values(report.rows_skipped).reduce((sum, rows) => sum + rows, 0);
  const scanned = report.rows_resolved + report.rows_resolved_compilation + report.rows_unresolved + skipped;
  return { scanned, ...report } as Report;
}

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

/** Puts records on the library's shelves, by their ids alone where no story needs their names. */
export async function shelve(sql: postgres.Sql, records: { id: number }[]) {
  const unnamed = { artist_id: 1, artist_name: 'Unnamed', album_title: 'Untitled' };
  const rows = records.map((record) => ({ ...unnamed, legacy_release_id: record.id, ...record }));
  await sql`insert into wxyc_schema.library ${sql(rows)}`;
}

/** Waits until a session hangs on a lock that another one holds. */
export async function untilBlocked(sql: postgres.Sql, session: { pid: number }) {
  const isBlocked = async () => {
    const blockers = await sql`select from unnest(pg_blocking_pids(${session.pid}))`;
    return blockers.length > 0;
  };
  await expect.poll(isBlocked, { interval: 5, timeout: 10_000 }).toBe(true);
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
      drop schema if exists station cascade;
      create schema station;
      delete from wxyc_schema.library_identity_source;
      delete from wxyc_schema.library_identity;
      delete from wxyc_schema.library_identity_history;
      delete from wxyc_schema.library;
      delete from wxyc_schema.artists;
      delete from identity_sync.superseded_source;
      delete from identity_sync.attempt;
      delete from identity_sync.quarantined_verdict;
      delete from identity_sync.settlement;
      insert into wxyc_schema.artists (id, artist_name) values (1, 'Unnamed');`);
    await shelve(sql, CATALOGUE);
    recorded ??= await recordedTables(sql);
  });

  return {
    get sql() {
      return database.sql;
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
      and tablename not in ('attempt', 'quarantined_verdict', 'settlement')
    order by name`;
  return tables
    .map(
      ({ name }) => `
        select '${name}' as table, jsonb_agg(to_jsonb(t) || jsonb_build_object('written by', t.xmin::text) order by t::text)
        from ${name} as t`,
    )
    .join(' union all ');
}
