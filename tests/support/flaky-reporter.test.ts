// A test that passes at its second try is no secret.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { ROOT } from './repository.js';

const TESTS = `
  import { expect, test } from 'vitest';
  let tries = 0;
  test('passes at once', () => {});
  test('passes late', () => expect(++tries, 'the tries so far').toBe(2));`;

test('a test that needed a second try is named, with the error of the first', async () => {
  // Inside of the repository, where Node finds the test runner.
  const root = await mkdtemp(join(ROOT, 'node_modules', '.flaky-'));
  onTestFinished(() => rm(root, { recursive: true }));
  await writeFile(join(root, 'late.test.ts'), TESTS);

  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const reporter = join(ROOT, 'tests', 'support', 'flaky-reporter.ts');
  const options = ['run', '--root', root, '--retry=1', `--reporter=${reporter}`];
  const { stdout } = await promisify(execFile)(process.execPath, [vitest, ...options], {
    env: { PATH: process.env.PATH, NO_COLOR: '1' },
  });

  expect(stdout.match(/^flaky: .*/gm)).toEqual([expect.stringContaining('late.test.ts > passes late')]);
  expect(stdout).toContain('the tries so far: expected 1 to be 2');
});
