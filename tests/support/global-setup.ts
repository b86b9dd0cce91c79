// Runs once a project: one PostgreSQL server, and in it one template database that the test files clone, and one
// database that those share which only read.
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/commands/migrate.js';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { ownWords } from './pending.js';
import { applyDefinitions, readText } from './repository.js';

declare module 'vitest' {
  export interface ProvidedContext {
    server: { url: string; template: string; readOnlyUrl: string; version: number };
  }
}

interface Server {
  origin: string;
  url: string;
  stop(): Promise<void>;
}

// Nothing in a test database needs to survive a crash. Fleets of workers and pools of several files are connected at
// once.
const SETTINGS = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' };

/** Starts the project's server, builds the template and hands the tests the address of both. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startServer(project.name);
  const admin = postgres(server.url, { max: 1, onnotice: () => {} });
  const template = `identity_sync_template_${randomBytes(4).toString('hex')}`;
  const readOnly = `${template}_read_only`;
  const urlOf = (name: string) => Object.assign(new URL(server.url), { pathname: name }).href;

  /** Takes both databases along, since a server that the caller names stays. */
  async function tearDown() {
    try {
      for (const name of [readOnly, template]) {
        // Not by force at once: graphile-migrate ends this process when a session that it keeps for 200 ms is cut off.
        const drop = `drop database if exists ${name}`;
        await admin.unsafe(drop).catch(() => admin.unsafe(`${drop} with (force)`));
      }
    } finally {
      await admin.end();
      await server.stop();
    }
  }

  try {
    const [setting] = await admin<[{ server_version: string }]>`show server_version`;
    console.log(`${project.name}: PostgreSQL ${setting.server_version}, ${server.origin}`);
    await admin.unsafe(`create database ${template}`);
    await fillTemplate(urlOf(template));
    await admin.unsafe(`alter database ${template} allow_connections false`);
    await admin.unsafe(`create database ${readOnly} template ${template}`);
    await admin.unsafe(`alter database ${readOnly} set default_transaction_read_only = on`);
    project.provide('server', {
      url: server.url,
      template,
      readOnlyUrl: urlOf(readOnly),
      version: Number.parseInt(setting.server_version, 10),
    });
    return tearDown;
  } catch (error) {
    await tearDown();
    throw error;
  }
}

/** Chooses the server: the one that the caller names, else a container, else the embedded one. */
async function startServer(projectName: string): Promise<Server> {
  const named = process.env.TEST_DATABASE_URL;
  if (named) return { origin: 'from TEST_DATABASE_URL', url: named, stop: async () => {} };

  const version = projectName === 'pg14' ? 14 : 18;
  try {
    return await startContainer(`postgres:${version}-alpine`);
  } catch (error) {
    const embedded = await startEmbeddedPostgres({ version, settings: SETTINGS });
    const reason = error instanceof Error ? error.message : error;
    return {
      origin: `embedded, since there is no container: ${reason}`,
      url: embedded.url,
      stop: embedded.stop,
    };
  }
}

/** Starts a container, which its reaper removes should this process be killed. */
async function startContainer(image: string): Promise<Server> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new PostgreSqlContainer(image).withCommand(['postgres', ...settings]).start();
  return {
    origin: `Testcontainers, ${image}`,
    url: container.getConnectionUri(),
    async stop() {
      await container.stop();
    },
  };
}

/** Brings the template to where production is: the backend's own tables first, then this service's migration. */
async function fillTemplate(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql
    .file(fileURLToPath(new URL('../../src/demo/backend.sql', import.meta.url)))
    .finally(() => sql.end());
  await migrate(url);
  // An edited function is tested at once. In CI the commits alone count, and the drift test compares them.
  if (process.env.CI) return;
  const current = postgres(url, { max: 1, onnotice: () => {} });
  await current.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(current).finally(() => current.end());
}
