import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, inject } from 'vitest';

export interface TestDatabase {
  name: string;
  sql: postgres.Sql;
  url: string;
  drop(): Promise<void>;
}

const server = inject('server');

/** The server's major version, for what differs between the ends of the supported range. */
export const postgresVersion = server.version;

// A test database can neither create nor drop itself. All test files of a process share this session, since a login
// costs a fifth of what a database does.
const admin = postgres(server.url, { max: 1, fetch_types: false, onnotice: () => {} });

const opened = new Map<string, postgres.Sql[]>();

/** Opens a session of its own, for what two of them do to each other; dropping the database closes it. */
export function connect(url: string): postgres.Sql {
  const session = postgres(url, { max: 1, onnotice: () => {} });
  const name = nameOf(url);
  opened.set(name, [...(opened.get(name) ?? []), session]);
  return session;
}

/** Makes a database like production's, with nothing in it, by copying the template. */
export function cloneDatabase(): Promise<TestDatabase> {
  // Copies files rather than writing all pages to the log: a third of the work. PostgreSQL 14 knows nothing else.
  const how = server.version >= 15 ? 'strategy file_copy' : '';
  return createDatabase(`template "${server.template}" ${how}`);
}

/** Makes a database without the product; `how` is what CREATE DATABASE says after its name. */
export async function createDatabase(how = ''): Promise<TestDatabase> {
  const name = `identity_sync_test_${randomBytes(6).toString('hex')}`;
  const url = Object.assign(new URL(server.url), { pathname: name }).href;
  await admin.unsafe(`create database ${name} ${how}`);
  const sql = postgres(url, { max: 5, onnotice: () => {} });
  return {
    name,
    sql,
    url,
    async drop() {
      await Promise.all([sql, ...(opened.get(name) ?? [])].map((session) => session.end({ timeout: 1 })));
      opened.delete(name);
      // PostgreSQL waits a while for sessions that are about to end. Those of graphile-migrate, which it keeps for 200 ms,
      // would end this process when cut off.
      const drop = `drop database if exists ${name}`;
      await admin.unsafe(drop).catch(() => admin.unsafe(`${drop} with (force)`));
    },
  };
}

/** Gives the calling test file or `describe` block a database that lives as long as it does. */
export function useDatabase(make: () => Promise<TestDatabase> = cloneDatabase): TestDatabase {
  const database = {} as TestDatabase;
  beforeAll(async () => {
    Object.assign(database, await make());
  });
  afterAll(() => database.drop());
  return database;
}

export interface Login {
  name: string;
  /** The way of this login into a database. */
  into(database: Pick<TestDatabase, 'url'>): string;
}

/**
 * Gives the calling test file a login, which goes after the databases that are used after it. The login that
 * drops it must have created it.
 */
export function useLogin(attributes = '', creator?: Login): Login {
  const name = `identity_sync_test_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  const administer = async (statement: string) => {
    const session = creator ? postgres(creator.into(server), { max: 1 }) : admin;
    await session.unsafe(statement).finally(() => creator && session.end());
  };
  beforeAll(() => administer(`create role ${name} login password '${password}' ${attributes}`));
  afterAll(() => administer(`drop role ${name}`));
  return { name, into: ({ url }) => Object.assign(new URL(url), { username: name, password }).href };
}

const nameOf = (url: string) => new URL(url).pathname.slice(1);
