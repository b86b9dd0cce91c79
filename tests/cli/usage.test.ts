// Wrong usage and wrong settings end the program with 2 and one line, before anything is read: the database and the LML
// that these settings name do not exist.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cli } from '../support/cli.js';
import { readText } from '../support/repository.js';
import { atATerminal } from '../support/terminal.js';

const NOWHERE = {
  DATABASE_URL: 'postgres://wxyc:hunter2@127.0.0.1:1/station',
  LIBRARY_METADATA_URL: 'http://127.0.0.1:1',
};

test.each<[string[], Record<string, string>, string]>([
  [['run'], { DATABASE_URL: '' }, 'DATABASE_URL is not set; allowed: a URL that begins with postgres'],
  [
    ['run'],
    { LIBRARY_METADATA_URL: '' },
    'LIBRARY_METADATA_URL is not set; allowed: a URL that begins with http',
  ],
  [
    ['run'],
    { LIBRARY_METADATA_URL: 'lml' },
    'LIBRARY_METADATA_URL is "lml"; allowed: a URL that begins with http',
  ],
  ...[
    'http://bob:hunter2@lml',
    'http://hunter2@lml',
    'ftp://bob:hun/ter2 hunter2@lml',
    'bob:hunter2@lml',
  ].map((url): [string[], Record<string, string>, string] => [
    ['run'],
    { LIBRARY_METADATA_URL: url },
    `LIBRARY_METADATA_URL is "${/^\w+:\/\//.exec(url)?.[0] ?? ''}lml"; allowed: a URL that begins with http:// or https://, without user and password`,
  ]),
  [['migrate'], { DATABASE_URL: '' }, 'DATABASE_URL is not set; allowed: a URL that begins with postgres'],
  [['run'], { BATCH_SIZE: '1001' }, 'BATCH_SIZE is "1001"; allowed: an integer from 1 to 1000'],
  [['run'], { DRY_RUN: 'yes' }, 'DRY_RUN is "yes"; allowed: true, 1, false, 0 or empty'],
  [
    ['run'],
    { PARTITION_INDEX: '4', PARTITION_COUNT: '4' },
    'PARTITION_INDEX is 4; allowed: less than PARTITION_COUNT',
  ],
  [['run', '--batch-size', '0'], {}, 'BATCH_SIZE is "0"; allowed: an integer from 1 to 1000'],
  [['run', '--va-batch-size', '1e3'], {}, 'VA_BATCH_SIZE is "1e3"; allowed: an integer from 1 to 1000'],
  [['run', '--concurrency', '33'], {}, 'LML_CONCURRENCY is "33"; allowed: an integer from 1 to 32'],
  [['run', '--timeout-ms', '999'], {}, 'LML_TIMEOUT_MS is "999"; allowed: an integer from 1000 to 600000'],
  [['run', '--throttle-ms', '-1'], {}, 'THROTTLE_MS is "-1"; allowed: an integer from 0 to 60000'],
  [['run', '--stale-days', '0'], {}, 'STALE_THRESHOLD_DAYS is "0"; allowed: an integer from 1 to 3650'],
  [
    ['run', '--unresolved-retry-days', ''],
    {},
    'UNRESOLVED_RETRY_DAYS is ""; allowed: an integer from 1 to 3650',
  ],
  [['run', '--max-tries', '11'], {}, 'LML_MAX_TRIES is "11"; allowed: an integer from 1 to 10'],
  [['run', '--deadline-minutes', '0'], {}, 'RUN_DEADLINE_MINUTES is "0"; allowed: an integer from 1 to 1440'],
  [['run', '--call-budget', '0'], {}, 'LML_CALL_BUDGET is "0"; allowed: an integer from 1 to '],
  [
    ['worker'],
    { PLAN_CRON: 'daily' },
    'PLAN_CRON is "daily"; allowed: a crontab time in UTC, as in 17 3 * * *',
  ],
  [['worker'], { HEALTH_PORT: 'off' }, 'HEALTH_PORT is "off"; allowed: an integer from 1 to 65535'],
  [['run', '--partition', '4/4'], {}, 'PARTITION_INDEX is 4; allowed: less than PARTITION_COUNT, which is 4'],
  [['run', '--partition', '1'], {}, '--partition is "1"; allowed: index/count, as in 0/4'],
  [['run', '--scope', 'everything'], {}, '--scope is "everything"; allowed: due, refresh, recheck, ids'],
  [['run', '--scope', 'ids'], {}, '--scope ids needs --ids 1,2,3 or --ids-from FILE'],
  [['run', '--ids', '1', '--ids-from', 'x'], {}, 'run takes --ids or --ids-from'],
  [['run', '--ids-from', 'x', '--scope', 'due'], {}, '--ids-from implies --scope ids'],
  [['run', '--ids-from', 'not-there'], {}, '--ids-from is "not-there", and cannot be read: ENOENT'],
  [
    ['run', '--ids-from', '/dev/null'],
    {},
    '--ids-from is "/dev/null", which holds no id; allowed: library ids',
  ],
  [['run', '--ids', '1,two'], {}, '--ids is "1,two"; allowed: library ids, as in 1,2,3'],
  [['replay', '--ids', '1,'], {}, '--ids is "1,"; allowed: library ids, as in 1,2,3'],
  [['run', '--ids', ''], {}, '--ids is ""; allowed: library ids, as in 1,2,3'],
  [['run', '--ids', '1', '--scope', 'due'], {}, '--ids implies --scope ids'],
  [['run', '--quickly'], {}, "error: unknown option '--quickly'"],
  [['run', 'now'], {}, "error: too many arguments for 'run'"],
  [['runs'], {}, "error: unknown command 'runs'"],
  [['run'], { BATCH_SZIE: '9' }, 'BATCH_SZIE is no variable of identity-sync; did you mean BATCH_SIZE?'],
  [['run'], { dry_run: '1' }, 'dry_run is no variable of identity-sync; did you mean DRY_RUN?'],
  [['hold', '5', '--reason', 'x'], { DRY_RNU: '1' }, 'DRY_RNU is no variable of identity-sync; did you mean'],
])('%j with %j', async (args, settings, words) => {
  const { status, stdout, stderr } = await cli(args, { ...NOWHERE, ...settings });

  expect(status).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain(words);
  expect(stderr.split('\n')[0]).toContain(words);
  expect(stderr).not.toContain('hunter2');
});

describe('a secret that is not usable is named, never shown', () => {
  test.each([
    [
      'DATABASE_URL',
      'mysql://wxyc:hunter2@db/station',
      'a URL that begins with postgres:// or postgresql://',
    ],
    [
      'DATABASE_URL',
      'postgres://wxyc:hunter2@db:99999/station',
      'a URL that begins with postgres:// or postgresql:// (its port is no number up to 65535)',
    ],
    ['LML_API_KEY', 'hunter2 hunter2', 'printable ASCII without blanks'],
  ])('%s', async (name, value, allowed) => {
    const ended = await cli(['run'], { ...NOWHERE, [name]: value });
    expect(ended).toEqual({
      status: 2,
      stdout: '',
      stderr: `identity-sync: ${name} is not usable; allowed: ${allowed}\n`,
    });
  });
});

test('all that is wrong with the settings is said at once, a line each', async () => {
  const { status, stderr } = await cli(['run'], {
    DATABASE_URL: '',
    ...{ LML_API_KEY: 'hunter2 hunter2', BATCH_SIZE: '0', THROTTEL_MS: '5', THROTTLE_MS: '' },
    ...{ PARTITION_INDEX: '4', PARTITION_COUNT: '4' },
  });
  expect(status).toBe(2);
  expect(stderr.trim().split('\n')).toEqual([
    'identity-sync: THROTTEL_MS is no variable of identity-sync; did you mean THROTTLE_MS?',
    expect.stringMatching(/^identity-sync: DATABASE_URL is not set/),
    expect.stringMatching(/^identity-sync: LIBRARY_METADATA_URL is not set/),
    'identity-sync: LML_API_KEY is not usable; allowed: printable ASCII without blanks',
    'identity-sync: BATCH_SIZE is "0"; allowed: an integer from 1 to 1000',
    expect.stringMatching(/^identity-sync: PARTITION_INDEX is 4/),
  ]);
});

test.each([
  [{ DATABASE_URI: 'postgres://elsewhere', BATCH_SZE: '9', BATCH_SIZE: '5' }, 'ours is set too'],
  [{ DATABASE_HOST: 'db', LML_HOST: 'lml', KEEP: '1', RUN: '1', LOG_FILE: 'x' }, 'none is near'],
])('a variable of somebody else is left alone: %j, since %s', async (others, _why) => {
  const { status, stderr } = await cli(['run'], { ...NOWHERE, ...others });
  expect(status).toBe(1);
  expect(stderr).not.toContain('did you mean');
});

describe('a file .env in the working directory', () => {
  const inFolder = async (text: string, settings: Record<string, string>, command = ['run']) => {
    const folder = await mkdtemp(join(tmpdir(), 'env-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, '.env'), text);
    return await cli(command, settings, folder);
  };

  test('gives settings, a set variable beats it, and the log says which came from it', async () => {
    const text = 'DATABASE_URL=postgres://wxyc:hunter2@127.0.0.1:1/station\nBATCH_SIZE=7\nVA_BATCH_SIZE=8\n';
    const { LIBRARY_METADATA_URL } = NOWHERE;
    const { status, stderr } = await inFolder(text, { LIBRARY_METADATA_URL, VA_BATCH_SIZE: '9' });
    expect(status).toBe(1);
    expect(JSON.parse(stderr.split('\n')[0]!).msg).toContain('BATCH_SIZE 7 (.env), VA_BATCH_SIZE 9, ');
    expect(stderr).not.toContain('hunter2');
  });

  test('gives nothing but what the program knows; of the rest only what is misspelt is named', async () => {
    const text = 'POSTGRES_PASSWORD=x\nNODE_OPTIONS=y\nPGAPPNAME=z\nBATCH_SIZE=0\nTHROTTEL_MS=5\n';
    const { status, stderr } = await inFolder(text, { ...NOWHERE, THROTTLE_MS: '' });
    expect([status, stderr.split('\n')]).toEqual([
      2,
      [
        'identity-sync: THROTTEL_MS is no variable of identity-sync; did you mean THROTTLE_MS?',
        'identity-sync: BATCH_SIZE is "0"; allowed: an integer from 1 to 1000',
        'identity-sync: set by the file .env here: BATCH_SIZE',
        '',
      ],
    ]);
  });

  test('is beaten by a variable that is set, also by an empty one, which has its default', async () => {
    const { status, stderr } = await inFolder('BATCH_SIZE=0\nDRY_RUN=\n', { ...NOWHERE, BATCH_SIZE: '' });
    expect([status, stderr]).toEqual([1, expect.not.stringContaining('BATCH_SIZE is')]);
  });

  test('is not named where it is not to blame', async () => {
    const { status, stderr } = await inFolder('BATCH_SIZE=7\n', NOWHERE, ['run', '--ids-from', 'nowhere']);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^identity-sync: --ids-from is .*\n$/)]);
  });

  test('is named where it holds something wrong', async () => {
    const { status, stderr } = await inFolder('BATCH_SIZE=0\n', NOWHERE);
    expect([status, stderr]).toEqual([
      2,
      'identity-sync: BATCH_SIZE is "0"; allowed: an integer from 1 to 1000\n' +
        'identity-sync: set by the file .env here: BATCH_SIZE\n',
    ]);
  });
});

test('--version says which', async () => {
  const { version } = JSON.parse(readText('package.json'));
  expect(await cli(['--version'], {})).toEqual({
    status: 0,
    stdout: `identity-sync ${version}\n`,
    stderr: '',
  });
});

test('the help of each command has its variables, exit statuses and an example', async () => {
  const { stdout } = await cli(['--help'], {});
  const names = [...stdout.split('Commands:')[1]!.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(10);
  for (const name of names.filter((each) => each !== 'help')) {
    const { status, stdout: help } = await cli([name, '--help'], {});
    expect(status).toBe(0);
    expect(help).toMatch(/\nExit status:\n {2}0 {2}all well\n {2}1 {2}\w/);
    expect(help).toMatch(new RegExp(`\\nExamples?:\\n.*identity-sync ${name}`));
    if (name !== 'demo') expect(help).toMatch(/\n {2}DATABASE_URL +the station's database/);
    expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  }
});

test.each([['--help'], ['run', '--help'], ['explain', '--help']])(
  '%s: the help fits a narrow terminal',
  async (...args) => {
    const { screen } = await atATerminal(args, {}, 60);
    const lines = screen.split('\n').filter((line) => !line.includes('identity-sync run --ids-from'));
    expect(lines.filter((line) => line.length > 60)).toEqual([]);
  },
);

test.each([['--help'], ['help'], ['run', '--help']])(
  '%j is no error, and lists the commands or flags',
  async (...args) => {
    const { status, stdout } = await cli(args.flat(), {});
    expect(status).toBe(0);
    expect(stdout).toContain(args.flat()[0] === 'run' ? '--partition <index/count>' : 'migrate');
  },
);

test('no command at all is wrong usage', async () => {
  expect(await cli([], {})).toMatchObject({ status: 2, stdout: '' });
});
