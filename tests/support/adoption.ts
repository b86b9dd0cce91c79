// Production as tests have it: on the test server, with logins of its own.
import { migrate } from '../../src/commands/migrate.js';
import { connect, createDatabase, type Login, type TestDatabase } from './database.js';
import { ownWords } from './pending.js';
import { buildProduction } from './production.js';
import { applyDefinitions, readText } from './repository.js';

/** Makes a database that belongs to somebody else, in which these logins may create schemas: what migrating takes. */
export async function createDatabaseFor(logins: Login[], how?: string): Promise<TestDatabase> {
  const database = await createDatabase(how);
  const names = logins.map(({ name }) => name);
  await database.sql.unsafe(`grant create on database ${database.name} to ${names}`);
  return database;
}

/** Makes a database to move into, in which the login owns everything. */
export async function createProduction(owner: Login, records: number): Promise<TestDatabase> {
  const database = await createDatabaseFor([owner]);
  const session = connect(owner.into(database));
  await buildProduction(session, records);
  await session.end();
  return database;
}

/** Migrates by a login, and outside of CI makes what is not committed yet, as it is in the template of all tests. */
export async function migrateWithPending(url: string): Promise<void> {
  await migrate(url);
  if (process.env.CI) return;
  const session = connect(url);
  await session.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(session);
  await session.end();
}
