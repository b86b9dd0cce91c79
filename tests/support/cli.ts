// The command line as an operator has it: the compiled program, in a process of its own.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import type { StandIn } from '../../src/demo/stand-in.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  pid: string;
  ended: Promise<Ended>;
  /** Waits for the end, for so many milliseconds at most. */
  endsWithin(milliseconds: number): Promise<Ended>;
  signal(name: NodeJS.Signals): void;
  /** Waits until the process has said something on standard error. */
  says(words: string): Promise<void>;
}

const running = new Set<ChildProcess>();

await buildIfStale();

/** Kills what a failed test has left running, before its database goes. */
export async function killLeftovers(): Promise<void> {
  const ends = [...running].map((child) => once(child, 'close'));
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(ends);
}

/** Starts the program with these settings and nothing else of this process's environment. */
export function startCli(
  args: string[],
  settings: Record<string, string>,
  cwd = join(root, 'dist'),
): RunningCli {
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [join(root, 'dist', 'cli.js'), ...args], {
    env: { PATH, HOME, THROTTLE_MS: '0', ...settings },
    // Where no .env is, of a person who runs the tests.
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
    });
  }
  const ended = once(child, 'close').then(([status]) => {
    running.delete(child);
    return { status: status as number | null, ...said };
  });
  return {
    pid: String(child.pid),
    ended,
    async endsWithin(milliseconds) {
      const late = sleep(milliseconds, 'late' as const, { ref: false });
      const first = await Promise.race([ended, late]);
      if (first === 'late') throw new Error(`still running after ${milliseconds} ms:\n${said.stderr}`);
      return first;
    },
    signal: (name) => child.kill(name),
    says: (words) => expect.poll(() => said.stderr, { interval: 10 }).toContain(words),
  };
}

/** Runs the program to its end. */
export async function cli(args: string[], settings: Record<string, string>, cwd?: string): Promise<Ended> {
  return await startCli(args, settings, cwd).ended;
}

/** The log's lines, of which standard error consists, less the one that the process starts with. */
export function logOf({ stderr }: Ended): { step: string; msg: string; run_id?: number }[] {
  return stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .filter(({ step }) => step !== 'start');
}

/** Holds LML's answers back, until one of them or all may go; what comes later is answered at once. */
export function holdAnswers(lml: StandIn): { letOneGo(): void; letGo(): void } {
  const held: (() => void)[] = [];
  lml.respondWith(async () => {
    await new Promise<void>((go) => held.push(go));
    return undefined;
  });
  return {
    letOneGo: () => held.shift()?.(),
    letGo() {
      lml.respondWith(null);
      for (const go of held.splice(0)) go();
    },
  };
}

/**
 * Compiles the program where its sources are newer. Each file is moved into its place whole, since other test files do
 * the same at the same time, and may have a process of it running.
 */
async function buildIfStale(): Promise<void> {
  const modified = async (path: string) => (await stat(join(root, path)).catch(() => null))?.mtimeMs ?? 0;
  const sources = await readdir(join(root, 'src'), { recursive: true });
  const newest = Math.max(...(await Promise.all(sources.map((path) => modified(join('src', path))))));
  if (newest < (await modified('dist/cli.js'))) return;

  const dist = join(root, 'dist');
  await mkdir(dist, { recursive: true });
  const fresh = await mkdtemp(join(dist, 'fresh-'));
  try {
    const tsc = join(root, 'node_modules', '.bin', 'tsc');
    await promisify(execFile)(tsc, ['-p', 'src', '--outDir', fresh], { cwd: root });
    for (const entry of await readdir(fresh, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const built = join(entry.parentPath, entry.name);
      const place = join(dist, relative(fresh, built));
      await mkdir(dirname(place), { recursive: true });
      await rename(built, place);
    }
  } finally {
    await rm(fresh, { recursive: true });
  }
}
