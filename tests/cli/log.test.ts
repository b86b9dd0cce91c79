// The log of a run: JSON lines, or text on a terminal with the bar below it; what it says at the start and at the end.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { shelveAll } from '../support/catalogue.js';
import { logOf } from '../support/cli.js';
import { addJob } from '../support/faults.js';
import { ROOT } from '../support/repository.js';
import { test } from '../support/test.js';

const CLEAR_LINE = '\r\x1b[2K';

test('a run says at its start which program it is and how it is set, less its secrets, and at its end how it went', async ({
  database,
  cli,
}) => {
  await shelveAll(database.sql, 'Autechre', 'Autechre');
  const ended = await cli.run(['run', '--batch-size', '1'], { LML_API_KEY: 'sk-hunter2-hunter2' });

  expect(JSON.parse(ended.stderr.split('\n')[0]!)).toMatchObject({
    ...{
      step: 'start',
      version: '0.1.0',
      command: 'run',
      settings: { BATCH_SIZE: 1, LML_TIMEOUT_MS: 30_000 },
    },
    msg: expect.stringMatching(/^identity-sync 0.1.0 run starts: LIBRARY_METADATA_URL .*, BATCH_SIZE 1, /),
  });
  expect(logOf(ended).at(-1)).toMatchObject({
    ...{
      step: 'report',
      run_id: 1,
      outcome: 'completed',
      cause: null,
      scanned: 2,
      resolved: 2,
      left: 0,
      calls: 2,
    },
    duration_ms: expect.any(Number),
    msg: expect.stringMatching(/^run 1 completed in [\d.]+ m?s: 2 rows in 2 calls, 2 resolved \(2 new\)$/),
  });
  expect(ended.stderr).not.toContain('hunter2');
  expect(ended.stderr).not.toContain(new URL(database.url).pathname);
});

test('the number of a run is a number in every line', async ({ database, lml, cli }) => {
  await shelveAll(database.sql, 'Autechre', 'Autechre');
  lml.respondWith(() => ({ status: 404, body: 'not here' }));
  const ended = await cli.run(['run', '--batch-size', '1']);
  const lines = logOf(ended).filter((line) => 'run_id' in line);
  expect(lines.map((line) => line.step)).toContain('settle');
  for (const line of lines) expect(line.run_id).toBe(1);
  expect(lines.find(({ step }) => step === 'settle')).toMatchObject({
    msg: expect.stringMatching(/^batch [12] failed: LML answered 404: not here$/),
  });
});

test('a worker says how each run ended, once, also without Sentry', async ({ database, cli }) => {
  await shelveAll(database.sql, 'Autechre', 'Autechre');
  const worker = await cli.worker();
  await addJob(database.sql, 'plan_identity_run');
  await worker.says('run 1 planned: 2 rows');
  await worker.says('run 1 completed in ');
  worker.signal('SIGTERM');
  const ended = await worker.ended;
  expect(logOf(ended).filter(({ step }) => step === 'report')).toMatchObject([
    { run_id: 1, outcome: 'completed' },
  ]);
});

test.each(['warn', 'silent'])('LOG_LEVEL=%s leaves out what is less', async (level) => {
  const { cli } = await import('../support/cli.js');
  const { status, stderr } = await cli(['migrate'], {
    DATABASE_URL: 'postgres://127.0.0.1:1/x',
    LOG_LEVEL: level,
  });
  expect(status).toBe(1);
  expect(stderr.includes('ECONNREFUSED')).toBe(level === 'warn');
});

test('LOG_FORMAT=text is for people', async ({ database, cli }) => {
  await shelveAll(database.sql, 'Autechre');
  const { stderr } = await cli.run(['run'], { LOG_FORMAT: 'text' });
  expect(stderr).toMatch(/^\d\d:\d\d:\d\d run 1 planned: 1 row in 1 batch$/m);
  expect(stderr).toMatch(
    /^\d\d:\d\d:\d\d run 1 completed in [\d.]+ m?s: 1 row in 1 call, 1 resolved \(1 new\)$/m,
  );
});

test('on a terminal lines are text, the bar stays below them, and nothing of it is left in the end', async ({
  database,
  lml,
  cli,
}) => {
  expect(cli).toBeDefined();
  await shelveAll(database.sql, ...Array<string>(6).fill('Autechre'));
  lml.respondWith(({ index }) => (index === 2 ? { status: 404, body: 'x'.repeat(200) } : { delayMs: 300 }));
  const { PATH } = process.env;
  const command = `stty cols 50; ${process.execPath} ${join(ROOT, 'dist/cli.js')} run --batch-size 1 --concurrency 1 >/dev/null`;
  const settings = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, THROTTLE_MS: '0' };
  const { stdout } = await promisify(execFile)('script', ['-qc', command, '/dev/null'], {
    env: { PATH, SHELL: '/bin/sh', ...settings },
  });

  const log = stdout
    .split('\r\n')
    .map(asShown)
    .filter((line) => line !== '');
  for (const line of log) expect(line).toMatch(/^\d\d:\d\d:\d\d /);
  expect(log.join('\n')).toMatch(/warning: batch \d failed: LML answered 404: x{200}/);
  expect(log.at(-1)).toMatch(/error: run 1 failed/);
  expect(stdout).toMatch(/\d+ % {2}\d of 6 rows/);
  const bars = stdout.split(CLEAR_LINE).flatMap((part) => /^(▕.*|\d+ %.*)/.exec(part)?.[1] ?? []);
  expect(bars.length).toBeGreaterThan(2);
  for (const bar of bars) expect([...bar].length).toBeLessThan(50);
});

/** What a terminal's line shows in the end. */
function asShown(line: string): string {
  return line.split(CLEAR_LINE).at(-1)!;
}
