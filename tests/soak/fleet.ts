// The workers: real processes, which are killed, told to stop, cut off and started again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

interface Worker {
  child: ChildProcess;
  place: number;
  signalled: NodeJS.Signals[];
  ended: Promise<unknown>;
  said: string;
}

export class Fleet {
  /** Processes that are no more, or whose way fell silent. What they held may be asked again. */
  readonly excused = new Set<string>();
  readonly complaints: string[] = [];
  readonly signals = new Map<string, number>();
  private readonly workers = new Set<Worker>();
  private isOver = false;

  /** One worker a setting; one that ends is followed by another. */
  constructor(private readonly settings: Record<string, string>[]) {
    for (const place of settings.keys()) this.start(place);
    // Also where the soak itself breaks off.
    process.on('exit', () => this.killAll());
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
  }

  private start(place: number): void {
    const { PATH, HOME } = process.env;
    const env = { PATH, HOME, ...this.settings[place] };
    const child = spawn(process.execPath, [CLI, 'worker'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const worker: Worker = { child, place, signalled: [], ended: once(child, 'close'), said: '' };
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        worker.said = (worker.said + text).slice(-20_000);
      });
    }
    this.workers.add(worker);
    void worker.ended.then(() => this.bury(worker));
  }

  private bury(worker: Worker): void {
    const { child, place, signalled, said } = worker;
    this.workers.delete(worker);
    this.excused.add(String(child.pid));
    // Node dies of a SIGTERM that comes while it starts, and a worker that finds no database then ends: another follows.
    const isStarting = !said.includes('the worker is up');
    const hasStopped = child.exitCode === 0 || (isStarting && child.signalCode === 'SIGTERM');
    const isExpected =
      signalled.includes('SIGKILL') ||
      (signalled.includes('SIGTERM') && hasStopped) ||
      (isStarting && /"code":"(CONNECTION_|ECONN|57P0)/.test(said));
    if (!isExpected) {
      const how = `${child.exitCode ?? child.signalCode} after ${signalled.join(', ') || 'no signal'}`;
      this.complaints.push(`a worker ended with ${how}: ${said.slice(-1500)}`);
    }
    if (!this.isOver) this.start(place);
  }

  /** Kills a worker, or tells it to stop, also one that is just starting or stopping. */
  signal(place: number, signal: 'SIGKILL' | 'SIGTERM'): void {
    for (const worker of this.workers) {
      if (worker.place !== place) continue;
      worker.signalled.push(signal);
      worker.child.kill(signal);
      this.signals.set(signal, (this.signals.get(signal) ?? 0) + 1);
    }
  }

  excuse(place: number): void {
    for (const worker of this.workers) if (worker.place === place) this.excused.add(String(worker.child.pid));
  }

  async end(): Promise<void> {
    this.isOver = true;
    this.killAll();
    await Promise.all([...this.workers].map(({ ended }) => ended));
  }

  private killAll(): void {
    for (const worker of this.workers) {
      worker.signalled.push('SIGKILL');
      worker.child.kill('SIGKILL');
    }
  }
}
