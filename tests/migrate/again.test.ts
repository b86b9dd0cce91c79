// Migrating again, and two at a time.
import { join } from 'node:path';
import type postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { startCli } from '../support/cli.js';
import { cloneDatabase, connect, useDatabase } from '../support/database.js';
import { ROOT, systemCatalogue } from '../support/repository.js';

// The lock that graphile-migrate holds while it migrates a database.
const MIGRATION_LOCK = '4727445306447283';

const migrated = useDatabase();

test('a database that is up to date is left as it is', async () => {
  const before = await migrationState(migrated.sql);
  await migrate(migrated.url);
  expect(await migrationState(migrated.sql)).toEqual(before);
});

test('of two processes that migrate at once each waits for its turn, and both succeed', async () => {
  const database = await cloneDatabase();
  onTestFinished(() => database.drop());
  await takeProductAway(database.sql);
  const deployer = connect(database.url);
  await deployer`select pg_advisory_lock(${MIGRATION_LOCK})`;

  const others = [1, 2].map(() => startCli(['migrate'], { DATABASE_URL: database.url }));
  await Promise.all(others.map((other) => other.says('another process is migrating this database')));
  await deployer`select pg_advisory_unlock(${MIGRATION_LOCK})`;

  for (const other of others) expect(await other.ended).toMatchObject({ status: 0, stdout: '' });
  expect(await migrationState(database.sql)).toEqual(await migrationState(migrated.sql));
});

test('a database that lacks what the product needs is refused, with all that is missing, and nothing changes', async () => {
  const database = await cloneDatabase();
  onTestFinished(() => database.drop());
  await takeProductAway(database.sql);
  await database.sql`alter table wxyc_schema.library drop column canonical_entity_id`;
  await database.sql`alter table wxyc_schema.artists alter column id type bigint`;
  await database.sql`drop function wxyc_schema.fold_artist_name cascade`;
  const before = await systemCatalogue(database.sql);

  const refusal = await migrate(database.url).catch((error) => error);
  expect(refusal).toMatchObject({ code: 'LS005' });
  for (const missing of [
    'column canonical_entity_id of wxyc_schema.library, of type text',
    'column id of wxyc_schema.artists, of type integer: it is bigint',
    'function wxyc_schema.fold_artist_name(text)',
  ]) {
    expect(refusal.message).toContain(missing);
  }
  expect(await systemCatalogue(database.sql)).toEqual(before);
});

/** All that migrating changes: the catalogue, and what the two tools remember of the migrations they ran. */
async function migrationState(sql: postgres.Sql) {
  return {
    catalogue: await systemCatalogue(sql),
    migrations: [
      ...(await sql`select filename, hash, previous_hash from graphile_migrate.migrations order by filename`),
      ...(await sql`select id, breaking from graphile_worker.migrations order by id`),
    ],
  };
}

/** Leaves what the station's backend alone makes. */
async function takeProductAway(sql: postgres.Sql): Promise<void> {
  await sql`drop schema identity_sync, identity_sync_private, graphile_migrate, graphile_worker, wxyc_schema cascade`;
  await sql.file(join(ROOT, 'src/demo/backend.sql'));
}
