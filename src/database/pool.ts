// The sessions of graphile-worker and graphile-migrate, which use pg: on the same lines as our own.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { log } from '../observe/log.js';
import { readAddress } from './address.js';
import { Line } from './line.js';
import { isAway, retryWhileDisconnected } from './retry.js';

const QUIET = new Logger(() => () => {});

/**
 * Opens a pool that rides out an absent database for a minute: graphile-worker ends where it cannot tell its queue that a job
 * is done. A statement outside a transaction is sent again on another session, as completing and taking jobs allow.
 */
class PatientPool extends pg.Pool {
  #looking: Promise<void> | null = null;

  // biome-ignore lint/suspicious/noExplicitAny: pg overloads it by its argument
  override connect(callback?: any): any {
    // With a callback it connects for LISTEN, and tries again by itself.
    if (callback !== undefined) {
      return super.connect((error, client, release) =>
        callback(error, client && this.#doubting(client), release),
      );
    }
    return retryWhileDisconnected(() => super.connect()).then((client) => this.#again(client));
  }

  /** Any login may notify of a migration, at which graphile-worker would end: it is told only where it was made. */
  #doubting(client: pg.PoolClient): pg.PoolClient {
    const emit = client.emit.bind(client);
    return Object.assign(client, {
      emit: (event: string, ...facts: { channel?: string }[]): boolean => {
        if (event !== 'notification' || facts[0]?.channel !== 'worker:migrate') return emit(event, ...facts);
        this.#looking ??= runMigrations({ pgPool: this, logger: QUIET })
          .catch((error) => void (isAway(error) || emit(event, ...facts)))
          .finally(() => {
            this.#looking = null;
          });
        return true;
      },
    });
  }

  #again(first: pg.PoolClient) {
    let client: pg.PoolClient | null = first;
    return {
      query: async (question: pg.QueryConfig, values?: unknown[]) => {
        let isInTransaction = false;
        return await retryWhileDisconnected(async () => {
          client ??= await super.connect();
          isInTransaction = client.getTransactionStatus() === 'T';
          const asked = client;
          return await asked.query(question, values).catch((error) => {
            if (!isAway(error)) throw error;
            asked.release(error);
            client = null;
            // What came before in its transaction is lost with the session.
            throw isInTransaction ? new Error(error.message, { cause: error }) : error;
          });
        });
      },
      release: () => client?.release(),
    };
  }
}

/** Opens a pool for graphile-worker. */
export function connectPool(url: string, sessions: number, patienceMs: number, setting?: string): pg.Pool {
  const address = readAddress(url, setting);
  const { host, port, user, database, password } = address;
  const pool = new PatientPool({
    host,
    port,
    user,
    database,
    password: () => password,
    max: sessions,
    ssl: false,
    stream: () => new Line(address, patienceMs),
    application_name: address.applicationName ?? 'identity-sync worker',
    ...(address.options !== null && { options: address.options }),
  });
  const quietly = (error: Error) => log.debug({ step: 'database' }, error.message);
  pool.on('error', quietly).on('connect', (client) => client.on('error', quietly));
  return pool;
}

/**
 * Lends graphile-migrate, which takes nothing but a URL, a line of ours: a socket in a directory that only this user may
 * enter.
 */
export async function lendLine<Result>(
  url: string,
  patienceMs: number,
  work: (localUrl: string) => Promise<Result>,
  setting?: string,
): Promise<Result> {
  const address = readAddress(url, setting);
  const directory = await mkdtemp(join(tmpdir(), 'identity-sync-'));
  const server = createServer((socket) => {
    const line = new Line(address, patienceMs).connect();
    socket.on('error', () => line.destroy()).on('close', () => line.end());
    line.on('error', () => socket.destroy()).on('close', () => socket.destroy());
    socket.pipe(line).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(join(directory, '.s.PGSQL.5432'), resolve));
  const login = [address.user, address.password].map(encodeURIComponent).join(':');
  const options = address.options === null ? '' : `&options=${encodeURIComponent(address.options)}`;
  try {
    return await work(
      `postgres://${login}@localhost/${encodeURI(address.database)}?host=${encodeURIComponent(directory)}&port=5432&sslmode=disable${options}`,
    );
  } finally {
    server.close();
    await rm(directory, { recursive: true });
  }
}
