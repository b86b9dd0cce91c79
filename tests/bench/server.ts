// The database server under measurement: embedded, durable, with templates to clone and meters to read.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { type EmbeddedVersion, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { ownWords } from '../support/pending.js';
import { applyDefinitions, readText } from '../support/repository.js';
import { KIND_SQL } from './verdicts.js';

// Commits are as durable as in production. What comes at its own time in production, checkpoints and autovacuum, must
// not fall into one measurement and not into another: the former come before each, the latter not at all.
const SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '256MB',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
};

/** What a piece of work took of its client: rows may be fewer than the catalogue has. */
export interface Usage {
  seconds: number;
  nodeCpuSeconds: number;
  /** Null where the work shares its process with the benchmark. */
  nodeMegabytes: number | null;
  /** What the process that plays LML took of the processors meanwhile, where there is one. */
  lmlCpuSeconds?: number;
}

export interface Measurement extends Usage {
  walBytes: number;
  /** The part of it that consists of whole pages, written at their first change after a checkpoint; from version 15. */
  walFullPageBytes: number | null;
  updates: number;
  hotUpdates: number;
  grownBytes: number;
  /** Of all the server's processes; null where the system does not say. */
  serverCpuSeconds: number | null;
}

export interface Database {
  url: string;
  sql: postgres.Sql;
  /** Does the work from a fresh checkpoint on, and reads the meters when its sessions have gone. */
  measure(work: () => Promise<Usage>): Promise<Measurement>;
  drop(): Promise<void>;
}

export interface Server {
  /** As the server names it. */
  version: string;
  clone(template: string): Promise<Database>;
  /** Makes a template from another one, or from nothing, by what `fill` does in it. */
  template(
    name: string,
    from: string | null,
    fill: (database: Pick<Database, 'url' | 'sql'>) => Promise<void>,
  ): Promise<void>;
  stop(): Promise<void>;
}

export async function startServer(version: EmbeddedVersion): Promise<Server> {
  const server = await startEmbeddedPostgres({ version, settings: SETTINGS });
  const admin = connect(server.url);
  let clones = 0;

  async function create(name: string, template: string | null) {
    await admin.unsafe(`create database ${name} ${template === null ? '' : `template ${template}`}`);
    const url = Object.assign(new URL(server.url), { pathname: name }).href;
    return { url, sql: connect(url) };
  }

  const [setting] = await admin<[{ server_version: string }]>`show server_version`;
  return {
    version: setting.server_version,
    async template(name, from, fill) {
      const database = await create(name, from);
      await fill(database);
      await database.sql`vacuum analyze`;
      await database.sql.end();
    },
    async clone(template) {
      const name = `clone_${++clones}`;
      const { url, sql } = await create(name, template);
      return {
        url,
        sql,
        measure: (work) => measure(sql, admin, server, work),
        async drop() {
          await sql.end();
          await admin.unsafe(`drop database ${name} with (force)`);
        },
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}

/** One session, which is what a client of the benchmark has. */
export function connect(url: string): postgres.Sql {
  return postgres(url, { max: 1, onnotice: () => {} });
}

export async function pidOf(sql: postgres.Sql): Promise<number> {
  const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
  return pid;
}

/** The processor's time of one of the server's processes so far; not a number where the system does not say. */
export function cpuMsOf(pid: number): number {
  return process.platform === 'linux' ? timesOf(pid)!.ticks * 10 : Number.NaN;
}

/** Everything but the rows: the backend's tables and the migrated product, as edited since the last migration. */
export async function moveIn({ url, sql }: Pick<Database, 'url' | 'sql'>): Promise<void> {
  await sql.file(fileURLToPath(new URL('../../src/demo/backend.sql', import.meta.url)));
  await migrate(url);
  await sql.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(sql);
  await sql`create extension if not exists pg_walinspect`.catch(() => {});
}

/** A catalogue of so many rows, all canonicalized, whose compilations have five credits each. */
export async function fillCatalogue(sql: postgres.Sql, rows: number): Promise<void> {
  await sql`set session_replication_role = replica`;
  await sql`
    insert into wxyc_schema.artists (artist_name)
    select 'Artist number ' || n from generate_series(1, ${rows}::integer / 3 + 1) as n`;
  await sql.unsafe(
    `
    insert into wxyc_schema.library
      (artist_id, album_title, artist_name, code_volume_letters, legacy_release_id, canonical_entity_id)
    select
      1 + id / 3,
      'The album with the number ' || id,
      case when kind = 'compilation' then 'Various Artists - Rock' else 'Artist number ' || 1 + id / 3 end,
      case when kind = 'compilation' then 'Z' end,
      id + 5000,
      'artist:' || id / 3
    from (select id, ${KIND_SQL} as kind from generate_series(1, $1::integer) as id) as numbered
    order by id`,
    [rows],
  );
  await sql`
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name, track_title)
    select library.id, 'Credit number ' || n, 'Track number ' || n
    from wxyc_schema.library, generate_series(1, 5) as n
    where library.code_volume_letters = 'Z'
    order by 1`;
  await sql`reset session_replication_role`;
}

async function measure(
  sql: postgres.Sql,
  admin: postgres.Sql,
  server: { pid: number; version: number },
  work: () => Promise<Usage>,
): Promise<Measurement> {
  await admin`checkpoint`;
  const before = await readMeters(sql);
  const cpuBefore = serverCpuSeconds(server.pid);
  const usage = await work();
  await sessionsEnd(sql);
  const cpuAfter = serverCpuSeconds(server.pid);
  // Version 14 sends its statistics through a collector, which takes half a second for them.
  if (server.version === 14) await sleep(1000);
  const after = await readMeters(sql);
  return {
    ...usage,
    walBytes: Number(after.written - before.written),
    walFullPageBytes: await fullPageBytes(sql, before.lsn, after.lsn),
    updates: after.updates - before.updates,
    hotUpdates: after.hot_updates - before.hot_updates,
    grownBytes: Number(after.size - before.size),
    serverCpuSeconds: cpuBefore === null ? null : cpuAfter! - cpuBefore,
  };
}

async function readMeters(sql: postgres.Sql) {
  const [meters] = await sql<
    [{ lsn: string; written: bigint; size: bigint; updates: number; hot_updates: number }]
  >`
    select
      pg_current_wal_lsn()::text as lsn,
      (pg_current_wal_lsn() - '0/0')::text as written,
      pg_database_size(current_database())::text as size,
      sum(n_tup_upd)::integer as updates,
      sum(n_tup_hot_upd)::integer as hot_updates
    from pg_stat_user_tables
    where relname in ('library_identity', 'library_identity_source', 'attempt')`;
  return { ...meters, written: BigInt(meters.written), size: BigInt(meters.size) };
}

/** A session hands its statistics in when it ends, and only then are they whole. */
async function sessionsEnd(sql: postgres.Sql): Promise<void> {
  for (;;) {
    const others = await sql`
      select from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;
    if (others.count === 0) return;
    await sleep(10);
  }
}

async function fullPageBytes(sql: postgres.Sql, from: string, to: string): Promise<number | null> {
  const [inspector] = await sql`select from pg_extension where extname = 'pg_walinspect'`;
  if (!inspector || from === to) return null;
  const [total] = await sql<[{ bytes: number }]>`
    select sum(fpi_size)::float8 as bytes from pg_get_wal_stats(${from}, ${to})`;
  return total.bytes;
}

/**
 * The time of the server's processes, those that have ended included: their parent inherits it. It is read before them,
 * and all again where one was gone meanwhile, so that none counts twice or not at all.
 */
function serverCpuSeconds(postmaster: number): number | null {
  if (process.platform !== 'linux') return null;
  for (;;) {
    const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const own = timesOf(postmaster)!;
    const times = others.map(timesOf);
    if (times.includes(null)) continue;
    const children = times.filter((each) => each!.parent === postmaster);
    const ticks = children.reduce((sum, child) => sum + child!.ticks, own.ticks + own.inherited);
    return ticks / 100;
  }
}

function timesOf(pid: number | string): { parent: number; ticks: number; inherited: number } | null {
  try {
    // The command's name, in brackets, may hold anything; after it come the state, the parent, and further on the times.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ').map(Number);
    return { parent: fields[1]!, ticks: fields[11]! + fields[12]!, inherited: fields[13]! + fields[14]! };
  } catch {
    return null;
  }
}
