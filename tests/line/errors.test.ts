// Each failure is one line that says what, where and what to do; --verbose shows the rest.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { logOf } from '../support/cli.js';
import { createDatabase, type TestDatabase, useLogin } from '../support/database.js';
import { ROOT } from '../support/repository.js';
import { useRoles } from '../support/roles.js';
import { type Cli, test } from '../support/test.js';

const roles = useRoles();
const operator = useLogin();

interface Case {
  what: string;
  args: string[];
  status?: number;
  /** Breaks what the command needs, and returns its settings. */
  given(database: TestDatabase): Promise<Record<string, string> | undefined>;
  says: (string | RegExp)[];
}

const WORKING = [['run'], ['worker'], ['release', '1', '--reason', 'x']];

const cases: Case[] = [
  ...WORKING.map((args) => ({
    what: 'a database that was never migrated',
    args,
    async given({ sql }: TestDatabase) {
      await sql`drop schema identity_sync, identity_sync_private, graphile_worker, graphile_migrate cascade`;
      return undefined;
    },
    says: ['this database has nothing of identity-sync', 'Run identity-sync migrate'],
  })),
  ...WORKING.map((args) => ({
    what: 'a schema that is older than the program',
    args,
    async given({ sql }: TestDatabase) {
      await sql`delete from graphile_migrate.migrations where filename = (select max(filename) from graphile_migrate.migrations)`;
      return undefined;
    },
    says: ['is older than this program: it lacks 1 of its migrations', 'Run identity-sync migrate'],
  })),
  ...WORKING.map((args) => ({
    what: 'a schema that is newer than the program',
    args,
    async given({ sql }: TestDatabase) {
      await sql`
        insert into graphile_migrate.migrations (hash, previous_hash, filename)
        select 'sha1:of-tomorrow', max(hash), '000099-tomorrow.sql' from graphile_migrate.migrations`;
      return undefined;
    },
    says: ['is newer than this program: it has 000099-tomorrow.sql', 'Deploy the version of identity-sync'],
  })),
  ...WORKING.map((args) => ({
    what: 'a column that is gone',
    args,
    async given({ sql }: TestDatabase) {
      await sql`alter table wxyc_schema.library_identity drop bandcamp_id cascade`;
      return undefined;
    },
    says: ['lack library_identity.bandcamp_id', 'identity-sync migrate names each column'],
  })),
  ...[['run'], ['worker']].map((args) => ({
    what: 'a function that this login may not call',
    args,
    async given(database: TestDatabase) {
      await roles.run(database.url, { operator: operator.name });
      return { DATABASE_URL: operator.into(database) };
    },
    says: [
      'permission denied for plan_identity_run',
      `is no member of ${roles.worker}`,
      'README, "Which login"',
      'sql/roles.sql',
    ],
  })),
  {
    what: 'a login without a role',
    args: ['run'],
    async given(database) {
      return { DATABASE_URL: operator.into(database) };
    },
    says: ['this login may call nothing of identity-sync', 'README, "Which login"', 'sql/roles.sql'],
  },
  {
    what: 'a run that is not there',
    args: ['apply', '--run', '99'],
    async given() {
      return undefined;
    },
    says: ['99'],
  },
  {
    what: 'a file that cannot be read',
    args: ['apply', '/nowhere/verdicts.json'],
    status: 2,
    async given() {
      return undefined;
    },
    says: ['FILE is "/nowhere/verdicts.json", and cannot be read', 'ENOENT'],
  },
];

test.for(cases)('$what: $args', async ({ args, given, status = 1, says }, { database, cli }) => {
  const settings = await given(database);
  const ended = await cli.run(args, { LOG_LEVEL: 'error', ...settings });
  expect(ended).toMatchObject({ status, stdout: '' });
  const lines = ended.stderr.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  for (const words of says) expect(oneLineOf(ended)).toMatch(words);
  expect(ended.stderr).not.toMatch(/\bat .*\.js:\d/);
});

test('a port that is taken names the variable that chooses another', async ({ cli }) => {
  const taken = createServer().listen(0);
  await once(taken, 'listening');
  const port = String((taken.address() as AddressInfo).port);
  const ended = await cli.run(['worker'], { HEALTH_PORT: port, LOG_LEVEL: 'error' });
  taken.close();
  expect(ended).toMatchObject({ status: 1, stdout: '' });
  expect(oneLineOf(ended)).toBe(
    `identity-sync: port ${port} is taken (EADDRINUSE). HEALTH_PORT names another.`,
  );
});

test.each([
  ['a full disk is said in one line', '>/dev/full', /^.*"code":"ENOSPC".*\nended with 1\n$/],
  ['a reader that has gone is no failure', '| true', /^ended with 0\n$/],
])('of standard output, %s', async (_what, goes, said) => {
  const command = `{ "$0" dist/cli.js --version; echo "ended with $?" >&2; } ${goes}`;
  const { stderr } = await promisify(execFile)('sh', ['-c', command, process.execPath], { cwd: ROOT });
  expect(stderr).toMatch(said);
});

test('--verbose shows what is behind it: code, query and stack, wherever it stands', async ({ cli }) => {
  const nowhere = await createDatabase();
  for (const args of [
    ['run', '--verbose'],
    ['--verbose', 'run'],
  ]) {
    const ended = await cli.run(args, { DATABASE_URL: nowhere.url, LOG_LEVEL: 'error' });
    const [line] = logOf(ended) as unknown as { failure: { stack: string; cause: { query: string } } }[];
    expect(line!.failure.stack).toMatch(/\bat .*\.js:\d/);
    expect(line!.failure.cause).toMatchObject({
      code: '3F000',
      query: expect.stringContaining('assert_program_fits'),
    });
  }
  await nowhere.drop();
});

/** The last line of a log, or of a text. */
function oneLineOf(ended: Awaited<ReturnType<Cli['run']>>): string {
  const line = ended.stderr.trimEnd().split('\n').at(-1)!;
  return line.startsWith('{') ? logOf(ended).at(-1)!.msg : line;
}
