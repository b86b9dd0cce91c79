// PgBouncer, as it is installed or from Debian's packages, which are unpacked and not installed.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { freePort } from './faults.js';

const run = promisify(execFile);

const PACKAGES = ['pgbouncer', 'libc-ares2', 'libevent-2.1-7', 'libevent-core-2.1-7'];

export interface PgBouncer {
  /** The way of a URL through a pool of this mode. */
  through(url: string, mode: 'session' | 'transaction'): Promise<string>;
  end(): Promise<void>;
}

/** Returns null where it cannot be had: CI needs nothing but Node with npm. */
export async function findPgBouncer(): Promise<PgBouncer | null> {
  const directory = await mkdtemp(join(tmpdir(), 'pgbouncer-'));
  await chmod(directory, 0o755);
  const found = await unpack(directory).catch(() => null);
  if (found === null) {
    await rm(directory, { recursive: true });
    return null;
  }
  const { program, libraries } = found;
  const running: ChildProcess[] = [];
  return {
    async through(url, mode) {
      const { hostname, port, username, password, pathname } = new URL(url);
      const own = await freePort();
      const file = join(directory, `${own}.ini`);
      const words = [
        '[databases]',
        `* = host=${hostname} port=${port} user=${username} password=${password}`,
        '[pgbouncer]',
        `listen_addr = 127.0.0.1\nlisten_port = ${own}\nauth_type = any\npool_mode = ${mode}\nunix_socket_dir =`,
      ];
      await writeFile(file, words.join('\n'));
      const child = spawn(program, [file], {
        env: { ...process.env, LD_LIBRARY_PATH: libraries },
        stdio: ['ignore', 'ignore', 'pipe'],
        // It refuses to be root's.
        ...(process.getuid?.() === 0 && { uid: 65534, gid: 65534 }),
      });
      running.push(child);
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
      await expect.poll(() => said).toContain('process up');
      return `postgres://${username}@127.0.0.1:${own}${pathname}`;
    },
    async end() {
      const ends = running.map((child) => once(child, 'close'));
      for (const child of running) child.kill('SIGKILL');
      await Promise.all(ends);
      await rm(directory, { recursive: true });
    },
  };
}

async function unpack(directory: string): Promise<{ program: string; libraries: string }> {
  const installed = await run('sh', ['-c', 'command -v pgbouncer']).catch(() => null);
  if (installed !== null) return { program: installed.stdout.trim(), libraries: '' };
  const options = { cwd: directory, timeout: 60_000 };
  await run('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', ...PACKAGES], options);
  for (const file of await readdir(directory)) await run('dpkg-deb', ['-x', file, 'root'], options);
  const [architecture] = (await readdir(join(directory, 'root/usr/lib'))).filter((name) =>
    name.endsWith('-gnu'),
  );
  const program = join(directory, 'root/usr/sbin/pgbouncer');
  const libraries = join(directory, 'root/usr/lib', architecture!);
  await run(program, ['--version'], { env: { LD_LIBRARY_PATH: libraries } });
  return { program, libraries };
}
