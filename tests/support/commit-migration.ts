// `npm run migration:commit -- "why"`: finds the functions and views that changed since the last commit, includes them in
// migrations/current.sql below what is written there, and commits it as the next migration. graphile-migrate proves it on a
// shadow database, so a throw-away server is started. Where something is refused, current.sql stays as it was.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commit } from 'graphile-migrate';
import postgres from 'postgres';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { pendingDefinitions, withIncludes } from './pending.js';
import { inOrder, ROOT, readText } from './repository.js';

const CURRENT = join(ROOT, 'migrations/current.sql');

const written = readText('migrations/current.sql');
const complaint = await prepare(process.argv[2]);
if (complaint) {
  console.error(complaint);
  process.exitCode = 1;
} else {
  try {
    await commitCurrent(process.argv[2]!);
  } catch (error) {
    // graphile-migrate has said what is wrong, and left its own copy of every included text behind.
    writeFileSync(CURRENT, written);
    console.error(
      `${error instanceof Error ? error.message : error}\nmigrations/current.sql is as it was before.`,
    );
    process.exitCode = 1;
  }
}

/** Writes the includes, or returns what keeps it from that. */
async function prepare(message: string | undefined): Promise<string | null> {
  if (!message?.trim()) return 'usage: npm run migration:commit -- "why"';
  const committed = readdirSync(join(ROOT, 'migrations/committed'))
    .sort()
    .map((file) => readText(`migrations/committed/${file}`));
  const { includes, missingDrops } = await pendingDefinitions(inOrder(), committed, written);
  if (missingDrops.length > 0) {
    const reasons = missingDrops.map(({ name, reason }) => `  ${name}: ${reason}`);
    return `Write a drop statement into migrations/current.sql, above the includes, for:\n${reasons.join('\n')}`;
  }
  const current = withIncludes(written, includes);
  if (!current.replaceAll(/^--(?!!).*$/gm, '').trim()) {
    return 'Nothing to commit: migrations/current.sql is blank, and every function and view is committed as it is.';
  }
  for (const { path } of includes) console.log(`includes ${path}`);
  writeFileSync(CURRENT, current);
  return null;
}

async function commitCurrent(message: string): Promise<void> {
  const server = await startEmbeddedPostgres({ version: 14, settings: { fsync: 'off' } });
  const admin = postgres(server.url, { max: 1 });
  const database = (name: string) => Object.assign(new URL(server.url), { pathname: name }).href;
  try {
    await admin`create database development`;
    const development = postgres(database('development'), { max: 1 });
    await development.file(join(ROOT, 'src/demo/backend.sql')).finally(() => development.end());
    await commit(
      {
        connectionString: database('development'),
        shadowConnectionString: database('shadow'),
        rootConnectionString: database('postgres'),
        migrationsFolder: join(ROOT, 'migrations'),
        afterReset: [{ _: 'sql', file: '../src/demo/backend.sql' }],
        beforeAllMigrations: [],
        blankMigrationContent: '-- The next migration begins here.\n',
      },
      message,
    );
  } finally {
    await othersGone(admin);
    await admin.end();
    await server.stop();
  }
}

/** graphile-migrate keeps its sessions for a moment, and ends this process with an error when one is cut off. */
async function othersGone(admin: postgres.Sql): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const others = await admin`
      select from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`;
    if (others.length === 0) return;
    await sleep(50);
  }
}
