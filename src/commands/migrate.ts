// `migrate`: brings the database up to date.
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { readAddress } from '../database/address.js';
import { loginInWords, openSession, PATIENCE_MS } from '../database/connect.js';
import { broughtMigrations, knownMigrations, MIGRATIONS, PREFLIGHT } from '../database/migrations.js';
import { retryWhileLocked } from '../database/retry.js';
import { log } from '../observe/log.js';
import { readSettings, type SettingName, settingsOf } from '../settings.js';
import { addManual, OK, settingsFrom } from './command.js';

const IS_MIGRATED = fileURLToPath(new URL('../../sql/is-migrated.sql', import.meta.url));

// Adopting large tables may take long, and nothing waits for it meanwhile.
const MIGRATION_MS = 6 * 3_600_000;

const command = new Command('migrate')
  .description('bring the database up to date; with nothing to do, any login may')
  .option(
    '--publications-are-seen-to',
    'go on though a publication takes what is made here to subscribers (README, "Publications")',
  );

export const migrateCommand = addManual(
  command,
  {
    examples: ['MIGRATE_DATABASE_URL=postgres://owner@db/station identity-sync migrate'],
    failed: 'something is missing, which is named; nothing was changed',
  },
  ['DATABASE_URL', ...settingsOf('migrate')],
).action(async ({ publicationsAreSeenTo = false }: { publicationsAreSeenTo?: boolean }) => {
  const settings = await settingsFrom('migrate');
  const setting = settings.MIGRATE_DATABASE_URL === undefined ? 'DATABASE_URL' : 'MIGRATE_DATABASE_URL';
  const databaseUrl =
    settings.MIGRATE_DATABASE_URL ?? (await readSettings(['DATABASE_URL'], {}, process.env)).DATABASE_URL;
  const isDone = await isMigratedByAnother(databaseUrl, setting);
  if (!isDone) await migrate(databaseUrl, { setting, publicationsAreSeenTo });
  const next = isDone ? '' : '; what is new gets its grants by psql "$DBA_URL" -f sql/roles.sql';
  log.info({ step: 'migrate' }, `the database is up to date${next}`);
  process.exitCode = OK;
});

/**
 * Brings a database up to date in three steps: a check that raises LS005 with all that is missing and changes nothing, the
 * committed migrations, and graphile-worker's own schema, which our functions use only when they run. A second deployer
 * waits for the first, and both wait in short tries for long readers of the identity tables.
 */
export async function migrate(
  databaseUrl: string,
  { setting, publicationsAreSeenTo = false }: { setting?: SettingName; publicationsAreSeenTo?: boolean } = {},
): Promise<void> {
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

  const pgSettings = await checkBeforeMigrating(databaseUrl, publicationsAreSeenTo, setting);
  await lendLine(
    databaseUrl,
    MIGRATION_MS,
    (connectionString) =>
      retryWhileLocked(() =>
        runCommittedMigrations({
          connectionString,
          migrationsFolder: fileURLToPath(MIGRATIONS),
          pgSettings,
          logger: new MigrateLogger(debug),
        }),
      ),
    setting,
  );
  const pgPool = connectPool(databaseUrl, 2, PATIENCE_MS, setting);
  await retryWhileLocked(() => runMigrations({ pgPool, logger: new WorkerLogger(debug) })).finally(() =>
    pgPool.end(),
  );
}

/** Whether there is nothing left to do for a login that may not migrate, such as the worker's in a deploy. */
function isMigratedByAnother(databaseUrl: string, setting: SettingName): Promise<boolean> {
  return inSession(databaseUrl, setting, async (sql) => {
    await sql.file(IS_MIGRATED);
    const [row] = await sql<[{ done: boolean }]>`
      select done from pg_temp.is_migrated_by_another(known_migrations => ${await knownMigrations()}) as done`;
    return row.done;
  });
}

/** Raises LS005 where the database is not ready, and returns the settings of the sessions that migrate. */
function checkBeforeMigrating(
  databaseUrl: string,
  publicationsAreSeenTo: boolean,
  setting?: SettingName,
): Promise<Record<string, string>> {
  return inSession(databaseUrl, setting, async (sql) => {
    const { hashes, texts } = await broughtMigrations();
    await sql.file(PREFLIGHT);
    const [row] = await sql<[{ settings: Record<string, string> }]>`
      select settings from pg_temp.check_before_migrating(
        known_migrations => ${hashes}, migration_texts => ${texts},
        publications_are_seen_to => ${publicationsAreSeenTo}) as settings`;
    return row.settings;
  });
}

/** Calls the database in a session of its own, and says in words where it cannot be reached. */
async function inSession<Result>(
  databaseUrl: string,
  setting: SettingName | undefined,
  call: (sql: ReturnType<typeof openSession>) => Promise<Result>,
): Promise<Result> {
  const sql = openSession(databaseUrl, { ...(setting && { setting }) });
  try {
    return await call(sql);
  } catch (error) {
    throw loginInWords(error, readAddress(databaseUrl, setting));
  } finally {
    await sql.end({ timeout: 2 });
  }
}
