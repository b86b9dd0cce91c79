// A command loads only what it needs, so that a run with nothing due is as quick as it can be.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { cli, killLeftovers } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const HEAVY = ['graphile-worker', 'graphile-migrate', 'undici', 'prom-client', 'd3-scale'];

const database = useDatabase();
afterAll(killLeftovers);

test.each<[string, string[], Record<string, string>, string[]]>([
  ['a run with nothing due', ['run'], {}, []],
  [
    'a run with nothing due and a crontab time to check',
    ['run'],
    { PLAN_CRON: '* * * * *' },
    ['graphile-worker'],
  ],
  ['replay', ['replay'], {}, []],
  ['report', ['report', '--html', '-'], {}, ['d3-scale']],
  ['--help', ['--help'], {}, []],
  ['migrate', ['migrate'], {}, ['graphile-worker', 'graphile-migrate']],
])('%s', async (_, args, settings, needed) => {
  const places = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: 'http://127.0.0.1:9' };
  expect(await packagesLoadedBy(args, { ...places, ...settings })).toEqual(needed);
});

/** The heavy packages that a command loads: V8 names every script, in a file for each thread. */
async function packagesLoadedBy(args: string[], settings: Record<string, string>): Promise<string[]> {
  const coverage = await mkdtemp(join(tmpdir(), 'loaded-'));
  const { status, stderr } = await cli(args, { ...settings, NODE_V8_COVERAGE: coverage });
  expect(status, stderr).toBe(0);
  const files = await readdir(coverage);
  const texts = await Promise.all(files.map((file) => readFile(join(coverage, file), 'utf8')));
  await rm(coverage, { recursive: true });
  expect(texts.some((scripts) => scripts.includes('/dist/cli.js'))).toBe(true);
  return HEAVY.filter((name) => texts.some((scripts) => scripts.includes(`/node_modules/${name}/`)));
}
