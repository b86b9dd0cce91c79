// `migrate`: brings the database up to date.
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { readAddress } from '../database/address.js';
import { inWords, openSession, PATIENCE_MS } from '../database/connect.js';
import { knownMigrations, MIGRATIONS } from '../database/migrations.js';
import { retryWhileLocked } from '../database/retry.js';
import { log } from '../observe/log.js';
import { OK, settingsFrom } from './command.js';

const PREFLIGHT = fileURLToPath(new URL('../../sql/preflight.sql', import.meta.url));

// While a migration waits for an exclusive lock, the station's own queries queue up behind it, so each try is short. It is
// also shorter than deadlock_timeout, so it gives up before it can be part of a deadlock that is found.
const LOCK_TIMEOUT = '100ms';

// Adopting large tables may take long, and nothing waits for it meanwhile.
const MIGRATION_MS = 6 * 3_600_000;

export const migrateCommand = new Command('migrate')
  .description('bring the database up to date')
  .action(async () => {
    const { DATABASE_URL } = await settingsFrom('migrate');
    await migrate(DATABASE_URL);
    log.info({ step: 'migrate' }, 'the database is up to date');
    process.exitCode = OK;
  });

/**
 * Brings a database up to date in three steps: a check that raises LS005 with all that is missing and changes nothing, the
 * committed migrations, and graphile-worker's own schema, which our functions use only when they run. A second deployer
 * waits for the first, and both wait in short tries for long readers of the identity tables.
 */
export async function migrate(databaseUrl: string, setting?: string): Promise<void> {
  // What runs migrations is loaded here: no other command needs it, and its load takes longer than a run with nothing due.
  const [
    { migrate: runCommittedMigrations, Logger: MigrateLogger },
    { runMigrations, Logger: WorkerLogger },
    { connectPool, lendLine },
  ] = await Promise.all([
    import('graphile-migrate'),
    import('graphile-worker'),
    import('../database/pool.js'),
  ]);
  const debug = () => (_level: unknown, message: string) => log.debug({ step: 'migrate' }, message);

  await checkBeforeMigrating(databaseUrl, setting);
  await lendLine(
    databaseUrl,
    MIGRATION_MS,
    (connectionString) =>
      retryWhileLocked(() =>
        runCommittedMigrations({
          connectionString,
          migrationsFolder: fileURLToPath(MIGRATIONS),
          pgSettings: { lock_timeout: LOCK_TIMEOUT },
          logger: new MigrateLogger(debug),
        }),
      ),
    setting,
  );
  const pgPool = connectPool(databaseUrl, 2, PATIENCE_MS, setting);
  await runMigrations({ pgPool, logger: new WorkerLogger(debug) }).finally(() => pgPool.end());
}

async function checkBeforeMigrating(databaseUrl: string, setting?: string): Promise<void> {
  const sql = openSession(databaseUrl, { ...(setting && { setting }) });
  try {
    await sql.file(PREFLIGHT);
    await sql`select from pg_temp.check_before_migrating(known_migrations => ${await knownMigrations()})`;
  } catch (error) {
    throw inWords(error, readAddress(databaseUrl, setting));
  } finally {
    await sql.end({ timeout: 2 });
  }
}
