import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { postgresVersion } from './database.js';

const LAUNCHER = new URL('../../src/demo/embedded-postgres.ts', import.meta.url);

const version = postgresVersion === 14 ? 14 : 18;

let place: string;

beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), 'launcher-test-'));
  await chmod(place, 0o755);
});

afterEach(() => rm(place, { recursive: true, force: true }));

test('serves the version asked for, with the settings given, until it is stopped', async () => {
  const server = await startEmbeddedPostgres({ version, settings: { application_name: `it's a \\ name` } });
  expect(await ask(server.url)).toEqual({
    major: version,
    name: `it's a \\ name`,
    fsync: 'on',
    folded: 'björk',
  });

  await server.stop();
  await expectGone(server);
});

test('refuses a login without the password', async () => {
  const server = await startEmbeddedPostgres({ version });
  const guess = Object.assign(new URL(server.url), { password: 'guess' }).href;
  await expect(ask(guess).finally(() => server.stop())).rejects.toMatchObject({ code: '28P01' });
});

test('leaves the directory, with the log in it, when asked to keep it', async () => {
  const server = await startEmbeddedPostgres({ version, directory: join(place, 'kept'), keep: true });
  await server.stop();
  expect(server.directory).toBe(join(place, 'kept'));
  expect(await readdir(server.directory)).toContain('server.log');
});

test('refuses a directory that exists, and leaves it alone', async () => {
  await expect(startEmbeddedPostgres({ version, directory: place })).rejects.toThrow('EEXIST');
  expect(existsSync(place)).toBe(true);
});

test('reports what the server said when it does not start', async () => {
  const directory = join(place, 'broken');
  const settings = { shared_buffers: 'plenty' };
  await expect(startEmbeddedPostgres({ version, directory, settings })).rejects.toThrow(
    'invalid value for parameter "shared_buffers": "plenty"',
  );
  expect(existsSync(directory)).toBe(false);
});

test.each(['SIGINT', 'SIGKILL'] as const)('ends with Node, ended by %s', async (signal) => {
  const program = `
    const { startEmbeddedPostgres } = await import('${LAUNCHER}');
    console.log(JSON.stringify(await startEmbeddedPostgres({ version: ${version} })));
    setInterval(() => {}, 1000);`;
  const node = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program]);
  const [line] = await once(node.stdout, 'data');
  const server: EmbeddedPostgres = JSON.parse(line);
  expect(await ask(server.url)).toMatchObject({ major: version });

  node.kill(signal);
  await expectGone(server);
});

describe('where npm ran no install scripts', () => {
  test('makes the missing links', async () => {
    const { launcher, native } = await installWithoutLinks();
    await expectToServe(launcher);
    expect((await lstat(join(native, 'lib', 'libpq.so.5'))).isSymbolicLink()).toBe(true);
  });

  test('copies packages that it may not write to, or that "nobody" may not read', async () => {
    const { launcher, native } = await installWithoutLinks();
    await chmod(join(native, 'lib'), 0o555);
    await chmod(place, 0o700);
    await expectToServe(launcher);
    await chmod(join(native, 'lib'), 0o755);
  });

  test('names the missing packages', async () => {
    const launcher = join(place, 'embedded-postgres.ts');
    await cp(LAUNCHER, launcher);
    await expect(expectToServe(launcher)).rejects.toThrow('the demo needs the development packages: npm ci');
  });
});

/** Asks a server what the tests want to know, in a session that does not stay. */
async function ask(url: string) {
  const sql = postgres(url, { max: 1, connection: { application_name: '' } });
  const answer = sql`
    select current_setting('server_version_num')::integer / 10000 as major,
           reset_val as name,
           current_setting('fsync') as fsync,
           lower('BJÖRK') as folded
      from pg_settings where name = 'application_name'`;
  return await answer.then(([row]) => ({ ...row })).finally(() => sql.end());
}

/** Waits until the directory is removed, which is the last that happens, and no server answers. */
async function expectGone({ url, directory }: EmbeddedPostgres) {
  await expect.poll(() => existsSync(directory)).toBe(false);
  await expect(ask(url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
}

/** Installs the launcher and its packages afresh, in the state that `npm ci --ignore-scripts` leaves them in. */
async function installWithoutLinks() {
  const modules = join(place, 'node_modules');
  const wrapper = version === 14 ? 'embedded-postgres-14' : 'embedded-postgres';
  const entry = createRequire(LAUNCHER).resolve(wrapper);
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const binaries = dirname(dirname(createRequire(entry).resolve(platform)));
  await cp(dirname(dirname(entry)), join(modules, wrapper), {
    recursive: true,
    filter: (path) => !path.includes(join(wrapper, 'node_modules')),
  });
  await cp(binaries, join(modules, platform), {
    recursive: true,
    filter: async (path) => !(await lstat(path)).isSymbolicLink(),
  });
  await cp(LAUNCHER, join(place, 'embedded-postgres.ts'));
  return { launcher: join(place, 'embedded-postgres.ts'), native: join(modules, platform, 'native') };
}

/** Starts a server with another copy of the launcher, and stops it. */
async function expectToServe(launcher: string) {
  const copy: { startEmbeddedPostgres: typeof startEmbeddedPostgres } = await import(launcher);
  const server = await copy.startEmbeddedPostgres({ version });
  expect(await ask(server.url).finally(() => server.stop())).toMatchObject({ major: version });
  await expectGone(server);
}
