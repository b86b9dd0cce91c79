// The workers: real processes, which are killed, told to stop, cut off and started again; and commands beside them.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Way } from './ways.js';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** Why a process that is just starting may find no database. */
const NO_DATABASE = /"code":"(CONNECT|ECONN|57P0|NO_ANSWER)/;

/** Where a process lives: its own ways to the database and to LML. */
export interface Place {
  database: Way;
  lml: Way;
}

export interface Program {
  child: ChildProcess;
  place: number;
  signalled: NodeJS.Signals[];
  ended: Promise<unknown>;
  said: string;
}

/** A time in which a process could not reach the database, so that what it held may be asked again. */
interface Excuse {
  pid: string;
  from: number;
  until: number;
}

export class Fleet {
  readonly complaints: string[] = [];
  readonly signals = new Map<string, number>();
  private readonly excuses: Excuse[] = [];
  private readonly programs = new Set<Program>();
  private isOver = false;

  /** So many workers, each at a place; one that ends is followed by another. */
  constructor(
    private readonly places: Place[],
    workers: number,
    /** Who calls LML with which key. */
    private readonly pids: Map<string, string>,
    private readonly settings: Record<string, string>,
  ) {
    for (let place = 0; place < workers; place++) this.startWorker(place);
    // Also where the soak itself breaks off.
    process.on('exit', () => this.killAll());
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
  }

  /** Starts the program at a place, with a key of its own by which LML knows it. */
  start(place: number, args: string[], settings: Record<string, string> = {}): Program {
    const { database, lml } = this.places[place]!;
    const key = `process-${this.pids.size}`;
    const { PATH, HOME } = process.env;
    const env = {
      ...{ PATH, HOME, LML_API_KEY: key, DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url },
      ...{ ...this.settings, ...settings },
    };
    const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const pid = String(child.pid);
    this.pids.set(key, pid);
    const program: Program = { child, place, signalled: [], ended: once(child, 'close'), said: '' };
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        program.said = (program.said + text).slice(-20_000);
      });
    }
    this.programs.add(program);
    void program.ended.then(() => {
      this.programs.delete(program);
      // What a process held when it died may be asked again.
      this.excuses.push({ pid, from: 0, until: Number.POSITIVE_INFINITY });
    });
    return program;
  }

  private startWorker(place: number): void {
    const worker = this.start(place, ['worker']);
    void worker.ended.then(() => this.bury(worker));
  }

  private bury({ child, place, signalled, said }: Program): void {
    // Node dies of a SIGTERM that comes while it starts, and a worker that finds no database then ends: another follows.
    const isStarting = !said.includes('the worker is up');
    const hasStopped = child.exitCode === 0 || (isStarting && child.signalCode === 'SIGTERM');
    const isExpected =
      signalled.includes('SIGKILL') ||
      (signalled.includes('SIGTERM') && hasStopped) ||
      (isStarting && NO_DATABASE.test(said));
    if (!isExpected) {
      const how = `${child.exitCode ?? child.signalCode} after ${signalled.join(', ') || 'no signal'}`;
      this.complaints.push(`a worker ended with ${how}: ${said.slice(-1500)}`);
    }
    if (!this.isOver) this.startWorker(place);
  }

  /** Kills what runs at a place, or tells it to stop, also what is just starting or stopping. */
  signal(place: number, signal: 'SIGKILL' | 'SIGTERM'): void {
    for (const program of this.programs) {
      if (program.place !== place) continue;
      program.signalled.push(signal);
      program.child.kill(signal);
      this.signals.set(signal, (this.signals.get(signal) ?? 0) + 1);
    }
  }

  /** Lets what runs at a place do nothing for a while, as a machine does whose memory is being moved. */
  async pause(place: number, forMs: number): Promise<void> {
    const paused = [...this.programs].filter((program) => program.place === place);
    for (const { child } of paused) child.kill('SIGSTOP');
    await sleep(forMs);
    for (const { child } of paused) child.kill('SIGCONT');
  }

  /** From now on what runs at a place cannot reach the database for longer than half a lease. */
  excuse(place: number, forMs: number, leaseMs: number): void {
    for (const program of this.programs) {
      if (program.place !== place) continue;
      const from = Date.now() - leaseMs;
      this.excuses.push({ pid: String(program.child.pid), from, until: from + leaseMs + forMs });
    }
  }

  isExcused(pid: string, at: number): boolean {
    return this.excuses.some((excuse) => excuse.pid === pid && excuse.from <= at && at <= excuse.until);
  }

  async end(): Promise<void> {
    this.isOver = true;
    this.killAll();
    await Promise.all([...this.programs].map(({ ended }) => ended));
  }

  private killAll(): void {
    for (const program of this.programs) {
      program.signalled.push('SIGKILL');
      program.child.kill('SIGKILL');
    }
  }
}
