import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Logger as MigrateLogger, migrate as runCommittedMigrations } from 'graphile-migrate';
import { runMigrations as installWorkerSchema, Logger as WorkerLogger } from 'graphile-worker';
import { log } from './log.js';

const MIGRATIONS = fileURLToPath(new URL('../migrations', import.meta.url));

/**
 * Brings a database up to date: the committed migrations, then graphile-worker's own schema, which the functions of the
 * first only use when they run. A second deployer waits for the first; a database that is up to date is left as it is.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  await whileAnotherDeploys(() =>
    runCommittedMigrations({
      connectionString: databaseUrl,
      migrationsFolder: MIGRATIONS,
      logger: new MigrateLogger(() => (level, message) => logQuietly(level, message)),
    }),
  );
  await installWorkerSchema({
    connectionString: databaseUrl,
    logger: new WorkerLogger(() => (level, message) => logQuietly(level, message)),
  });
}

async function whileAnotherDeploys(work: () => Promise<void>): Promise<void> {
  for (let waited = 0; ; waited++) {
    try {
      return await work();
    } catch (error) {
      const busy = error instanceof Error && error.message === 'Failed to get exclusive lock';
      if (!busy || waited === 120) throw error;
      if (waited === 0)
        log.info({ step: 'migrate' }, 'another process is migrating this database: waiting for it');
      await sleep(1000);
    }
  }
}

/** Both libraries say little that an operator needs; what they call an error he needs. */
function logQuietly(level: string, message: string): void {
  if (level === 'error') log.error({ step: 'migrate' }, message);
  else log.debug({ step: 'migrate' }, message);
}
