// What the fault suite and the soak share: a long shelf, the ledger of runs, and things to break: the way to LML, and a
// PostgreSQL of one's own.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { type EmbeddedVersion, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import type { RunReport } from '../../src/observe/ended-runs.js';

/** An artist that the stand-in has never heard of, so that every record of it comes back unresolved. */
export const UNHEARD_OF = 'Zzyzx Unheard';

/** A crontab time that comes once in four years: these tests plan when they want to. */
export const NEVER = '0 0 29 2 *';

/** Puts so many canonicalized records of one artist on the shelf, in one statement, and returns their ids, ascending. */
export async function shelveMany(sql: postgres.ISql, count: number, artist = 'Autechre'): Promise<number[]> {
  const records = await sql<{ id: number }[]>`
    with artist as (
      insert into wxyc_schema.artists (artist_name) values (${artist}) returning id
    )
    insert into wxyc_schema.library (artist_id, artist_name, album_title, canonical_entity_id, legacy_release_id)
    select artist.id, ${artist}, format('Album %s', number), 'artist:1', 1000 * artist.id + number
    from artist cross join generate_series(1, ${count}) as number
    returning id`;
  return records.map((record) => record.id).sort((one, other) => one - other);
}

export interface Run {
  run_id: string;
  outcome: RunReport['outcome'];
  outcome_reason: string | null;
  stop_cause: string | null;
  pauses: number;
  paused_for: number | null;
  finished_at: Date | null;
}

/** A run as the ledger has it, the latest unless one is named, with the seconds that its pause still lasts. */
export async function runOf(sql: postgres.ISql, runId?: string): Promise<Run> {
  const [run] = await sql<[Run]>`
    select *, extract(epoch from paused_until - clock_timestamp())::float8 as paused_for
    from identity_sync.run
    where run_id = coalesce(${runId ?? null}::bigint, (select max(run_id) from identity_sync.run))`;
  return run;
}

export async function reportOf(sql: postgres.ISql, runId: string | null = null): Promise<RunReport> {
  const [row] = await sql<[{ report: RunReport }]>`
    select identity_sync.identity_run_report(${runId}::bigint) as report`;
  return row.report;
}

/** The libraries that hold an identity, ascending. */
export async function identified(sql: postgres.ISql): Promise<number[]> {
  const rows = await sql<{ library_id: number }[]>`
    select library_id from wxyc_schema.library_identity order by library_id`;
  return rows.map((row) => row.library_id);
}

/** The libraries that bear a mark of this outcome, ascending. */
export async function marked(sql: postgres.ISql, outcome: string): Promise<number[]> {
  const rows = await sql<{ library_id: number }[]>`
    select library_id from identity_sync.attempt where outcome = ${outcome} order by library_id`;
  return rows.map((row) => row.library_id);
}

/** Enqueues a job of the crontab at once; `firedAt` makes it a tick of that time. */
export async function addJob(sql: postgres.ISql, task: string, firedAt?: Date): Promise<void> {
  const payload = firedAt === undefined ? {} : { _cron: { ts: firedAt.toISOString() } };
  await sql`select graphile_worker.add_job(${task}, ${JSON.stringify(payload)}::text::json)`;
}

/** Ends a run's pause before its time. */
export async function endPause(sql: postgres.ISql): Promise<void> {
  await sql`
    update identity_sync.run set paused_until = clock_timestamp() where finished_at is null`;
  await sql`
    select identity_sync.enqueue_lanes(run_id, 2) from identity_sync.run where finished_at is null`;
}

/** Cuts every session of the product, wherever it is in its work. */
export async function cutSessions(sql: postgres.ISql): Promise<number> {
  const cut = await sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and application_name <> 'postgres.js'`;
  return cut.length;
}

/** Asks the system for a port that is free right now. */
export async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return String(port);
}

export interface TcpProxy {
  url: string;
  /** How often something came through, on its way in. */
  readonly messages: number;
  /** Refuses connections, and cuts those that are there. */
  shut(): Promise<void>;
  open(): Promise<void>;
  /** Takes what comes and passes nothing on, though the sockets stay: those that are there, or all to come as well. */
  swallow(which: 'these' | 'all'): void;
}

/** A proxy before another server: it counts what passes, and can be shut. */
export async function openProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let messages = 0;
  let swallows = false;
  const server = createServer((incoming) => {
    if (swallows) return void sockets.add(incoming.on('error', () => incoming.destroy()).resume());
    const outgoing = connect(Number(port), hostname);
    for (const socket of [incoming, outgoing]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    }
    incoming.on('data', () => {
      messages += 1;
    });
    incoming.pipe(outgoing).pipe(incoming);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const own = (server.address() as AddressInfo).port;
  return {
    url: Object.assign(new URL(target), { hostname: '127.0.0.1', port: String(own) }).href,
    get messages() {
      return messages;
    },
    async shut() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    swallow(which) {
      swallows = which === 'all';
      for (const socket of sockets) socket.unpipe().removeAllListeners('data').resume();
    },
    async open() {
      await once(server.listen(own, '127.0.0.1'), 'listening');
    },
  };
}

export interface BreakableServer {
  url: string;
  /** Stops and starts PostgreSQL again, `immediate` as if its machine had lost power. */
  restart(mode: 'fast' | 'immediate'): Promise<void>;
  /** Stops it, for good. */
  end(): Promise<void>;
}

/** Starts a PostgreSQL of the test's own, with the product in its database `postgres`. */
export async function startServerToBreak(
  version: EmbeddedVersion,
  settings: Record<string, string> = {},
): Promise<BreakableServer> {
  // Commits must survive an immediate shutdown, so only what guards against a dying machine is off.
  const server = await startEmbeddedPostgres({ version, settings: { fsync: 'off', ...settings } });
  const sql = postgres(server.url, { max: 1, onnotice: () => {} });
  await sql
    .file(fileURLToPath(new URL('../../src/demo/backend.sql', import.meta.url)))
    .finally(() => sql.end());
  await migrate(server.url);

  const [program] = (await readFile(join(server.directory, 'data', 'postmaster.opts'), 'utf8')).split(' ');
  const options = ['restart', '--silent', '--wait', '--pgdata=data', '--log=server.log'];
  // The server's files are those of an unprivileged user, where this process is root's.
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  return {
    url: server.url,
    async restart(mode) {
      await promisify(execFile)(join(dirname(program!), 'pg_ctl'), [...options, `--mode=${mode}`], {
        ...user,
        cwd: server.directory,
      });
    },
    end: () => server.stop(),
  };
}
