// `npm run dev`: a throw-away PostgreSQL with the station's real catalogue, migrated, that gets every function and view of
// sql/ as soon as its file is saved, and a stand-in for LML that plays any of its faults. Both live until Ctrl-C and leave
// nothing behind. migrations/current.sql is run once, at the start, since what it holds cannot be run twice.
import { watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import colors from 'picocolors';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { loadCatalogue, loadCompilationCredits } from '../../src/demo/catalogue.js';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { loadCompilations, loadIdentities, startStandIn } from '../../src/demo/stand-in.js';
import { log } from '../../src/observe/log.js';
import { describeError } from './describe-error.js';
import { ownWords } from './pending.js';
import { withoutPsql } from './psql.js';
import { inOrder, ROOMS, ROOT, readText, type SqlFile } from './repository.js';

// An editor may write a file in several steps.
const SETTLED_MS = 50;

log.level = 'error';
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort()).once('SIGTERM', () => interrupted.abort());

const server = await startEmbeddedPostgres({ settings: { fsync: 'off' } });
const sql = postgres(server.url, {
  max: 1,
  onnotice: ({ message }) => console.log(colors.dim(`  ${message}`)),
});
const lml = await startStandIn({
  identities: loadIdentities(),
  compilations: loadCompilations(),
  tracksContractVersion: 1,
});
try {
  await prepare();
  await applyWhatIsSaved();
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
} finally {
  await lml.close();
  await sql.end({ timeout: 1 });
  await server.stop();
  console.log('Stopped; the database is gone.');
}

async function prepare(): Promise<void> {
  await quietly(async () => {
    await loadCatalogue(sql);
    await loadCompilationCredits(sql);
    await migrate(server.url);
    await sql`alter database postgres set search_path = identity_sync, public`;
    await sql`analyze`;
  });
  await run('migrations/current.sql', ownWords);
  const [{ version, due }] = await sql<[{ version: string; due: number }]>`
    select current_setting('server_version') as version, count(*)::integer as due from identity_sync.identity_candidates()`;
  console.log(
    `PostgreSQL ${version} with the station's catalogue, migrated; ${due.toLocaleString('en')} rows are due.\n`,
  );
  console.log(`  ${colors.bold(`psql "${server.url}"`)}`);
  const settings = `DATABASE_URL="${server.url}" LIBRARY_METADATA_URL=${lml.url}`;
  console.log(`  ${colors.bold(`${settings} npx identity-sync run`)}`);
  console.log(`  ${colors.bold(`curl -X POST '${lml.url}/stand-in?mood=overloaded'`)}\n`);
  console.log(
    'The last line gives LML a mood (overloaded, shifted, new_kind, store_down), and without one takes it back.',
  );
  console.log(
    'Others: mix=real, source=deezer, method=acoustic, mainKey=isni, resultKey=release, latency=5000 (ms a call).',
  );
}

/** Runs a script that is not watched. */
async function run(path: string, prepared: (text: string) => string): Promise<void> {
  const text = prepared(readText(path));
  await sql
    .unsafe(text)
    .catch((error) => console.log(`${now()} ${colors.red('refused')} ${describeError(error, path, text)}`));
}

async function quietly(work: () => Promise<void>): Promise<void> {
  await sql`set client_min_messages = warning`;
  await work();
  await sql`reset client_min_messages`;
}

/** Watches the rooms, and applies what differs from what was applied last, until Ctrl-C. */
async function applyWhatIsSaved(): Promise<void> {
  const applied = new Map<string, string>();
  await applyChanges(applied, { says: 'refusals' });
  await run('sql/roles.sql', (script) => withoutPsql(script, {}));
  console.log('A function or view of sql/ is applied as soon as its file is saved. Ctrl-C ends it.');
  let hasChanged = false;
  let wake = () => {};
  const notice = () => {
    hasChanged = true;
    wake();
  };
  const folders = [...ROOMS.map((room) => `sql/functions/${room}`), 'sql/views'];
  const watchers = folders.map((folder) => watch(join(ROOT, folder), notice));
  interrupted.signal.addEventListener('abort', () => wake());
  try {
    while (!interrupted.signal.aborted) {
      if (!hasChanged) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      await sleep(SETTLED_MS);
      hasChanged = false;
      if (!interrupted.signal.aborted) await applyChanges(applied, { says: 'everything' });
    }
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}

type Saying = { says: 'everything' | 'refusals' };

async function applyChanges(applied: Map<string, string>, { says }: Saying): Promise<void> {
  const files = inOrder();
  for (const file of files) {
    if (applied.get(file.path) === file.text) continue;
    applied.set(file.path, file.text);
    await apply(file, { says });
  }
  for (const path of applied.keys()) {
    if (files.some((file) => file.path === path)) continue;
    applied.delete(path);
    console.log(
      `${now()} ${colors.yellow('gone')} sql/${path}: the database keeps what it made, until you drop it`,
    );
  }
}

async function apply({ path, name, text }: SqlFile, { says }: Saying): Promise<void> {
  const started = performance.now();
  try {
    await sql.begin((tx) => tx.unsafe(text));
    if (says === 'refusals') return;
    console.log(
      `${now()} ${colors.green('applied')} sql/${path} (${Math.round(performance.now() - started)} ms)`,
    );
    await nameOverloads(name);
  } catch (error) {
    console.log(`${now()} ${colors.red('refused')} ${describeError(error, `sql/${path}`, text)}`);
  }
}

/** A changed signature makes a second function, and calls may still reach the first. */
async function nameOverloads(name: string): Promise<void> {
  const overloads = await sql<{ signature: string }[]>`
    select oid::regprocedure::text as signature
    from pg_proc
    where proname = ${name}
      and pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace)
    order by oid`;
  if (overloads.length < 2) return;
  const lines = overloads.map(({ signature }) => `  drop function ${signature};`);
  console.log(
    colors.yellow(
      `There are ${overloads.length} of this name now. Drop the old one here and in the migration:`,
    ),
  );
  console.log(lines.join('\n'));
}

function now(): string {
  return colors.dim(new Date().toTimeString().slice(0, 8));
}
