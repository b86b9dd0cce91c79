import { fileURLToPath } from 'node:url';
import { Logger as MigrateLogger, migrate as runCommittedMigrations } from 'graphile-migrate';
import { runMigrations as installWorkerSchema, Logger as WorkerLogger } from 'graphile-worker';
import { connectDatabase } from '../database/connect.js';
import { knownMigrations, MIGRATIONS } from '../database/migrations.js';
import { retryWhileLocked } from '../database/retry.js';
import { log } from '../observe/log.js';

const PREFLIGHT = fileURLToPath(new URL('../../sql/preflight.sql', import.meta.url));

// While an exclusive lock is waited for, the station's own queries queue up behind it: so the tries are short. Being shorter
// than deadlock_timeout, it also lets go before a deadlock would be found.
const LOCK_TIMEOUT = '100ms';

/**
 * Brings a database up to date: looks first whether it can be (and raises LS005 with all that is missing, having changed
 * nothing), then the committed migrations, then graphile-worker's own schema, which our functions use only when they
 * run. A second deployer waits for the first, and both wait in short tries for whoever reads the identity tables for long.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  await checkBeforeMigrating(databaseUrl);
  await retryWhileLocked(() =>
    runCommittedMigrations({
      connectionString: databaseUrl,
      migrationsFolder: fileURLToPath(MIGRATIONS),
      pgSettings: { lock_timeout: LOCK_TIMEOUT },
      logger: new MigrateLogger(() => (_level, message) => log.debug({ step: 'migrate' }, message)),
    }),
  );
  await installWorkerSchema({
    connectionString: databaseUrl,
    logger: new WorkerLogger(() => (_level, message) => log.debug({ step: 'migrate' }, message)),
  });
}

async function checkBeforeMigrating(databaseUrl: string): Promise<void> {
  const sql = connectDatabase(databaseUrl, 1);
  try {
    await sql.file(PREFLIGHT);
    await sql`select from pg_temp.check_before_migrating(known_migrations => ${await knownMigrations()})`;
  } finally {
    await sql.end();
  }
}
