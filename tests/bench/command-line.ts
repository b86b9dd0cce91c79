// The product as it is used: the compiled program, in a process of its own, from its start to its end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Usage } from './server.js';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

// The program's last words, on a channel of its own. On Linux a process inherits the peak of the one that started it in
// `maxRSS`, and only VmHWM is its own.
const LAST_WORDS = `
  import { readFileSync, writeSync } from 'node:fs';
  process.on('exit', () => {
    const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
    const own = process.platform === 'linux' && /VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
    writeSync(3, JSON.stringify({ kilobytes: own ? Number(own[1]) : maxRSS, cpu: userCPUTime + systemCPUTime }));
  });`;

/** What the benchmark looks at in a run's report. */
export interface Report {
  scanned: number;
  lml_total_calls: number;
}

/** One `identity-sync run` to its good end. */
export async function identitySyncRun(
  args: string[],
  settings: { DATABASE_URL: string; LIBRARY_METADATA_URL: string; LML_CONCURRENCY?: string },
): Promise<{ usage: Usage; report: Report }> {
  const started = performance.now();
  // What changes everything is meant here, and is no fault of LML.
  const child = spawn(CLI, ['run', '--accept', 'changed', ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(LAST_WORDS)}`,
      THROTTLE_MS: '0',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [stdout, stderr, lastWords, [status]] = await Promise.all([
    text(child.stdio[1]!),
    text(child.stdio[2]!),
    text(child.stdio[3] as Readable),
    once(child, 'close'),
  ]);
  const seconds = (performance.now() - started) / 1000;
  if (status !== 0) throw new Error(`identity-sync run ended with status ${status}:\n${stderr}`);
  const { kilobytes, cpu } = JSON.parse(lastWords) as { kilobytes: number; cpu: number };
  return {
    usage: { seconds, nodeCpuSeconds: cpu / 1e6, nodeMegabytes: kilobytes / 1024 },
    report: JSON.parse(stdout) as Report,
  };
}
