// `check` says whether a run or a repair would fail and why, changes nothing, and fits any terminal.
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, onTestFinished } from 'vitest';
import { widthOf } from '../../src/screens/format.js';
import { shelveAll } from '../support/catalogue.js';
import { atATerminal } from '../support/terminal.js';
import { test } from '../support/test.js';

const KEY = 'sk-hunter2-hunter2';

interface Found {
  fit: boolean;
  checks: { check: string; status: string; message: string; cure: string | null }[];
}

const found = (stdout: string, name: string) =>
  (JSON.parse(stdout) as Found).checks.find(({ check }) => check === name);

describe('with a key', () => {
  test.override('answers', { apiKey: KEY });

  test('all is well: every line says so, and LML was asked for nothing', async ({ cli, lml }) => {
    const { status, stdout } = await cli.run(['check'], { LML_API_KEY: KEY, PLAN_CRON: '17 3 * * *' });
    const { fit, checks } = JSON.parse(stdout) as Found;
    expect([status, fit]).toEqual([0, true]);
    expect(checks.filter((each) => each.status === 'fail')).toEqual([]);
    expect(checks.map(({ check }) => check)).toEqual([
      ...['database', 'TLS', 'clock', 'login', 'session', 'schema', 'columns', 'queue'],
      ...['triggers', 'replication', 'LML', 'cron'],
    ]);
    expect(found(stdout, 'LML')!.message).toMatch(
      /\(422 to an empty call\): it is there, and the key is good$/,
    );
    expect(lml.calls.flatMap(({ ids }) => ids)).toEqual([]);
  });

  test('a key that is missing or wrong fails it', async ({ cli }) => {
    for (const [key, message] of [
      ['', 'it asks for a key, and LML_API_KEY is not set (401)'],
      ['sk-of-another-1', 'it refuses the key (403)'],
    ] as const) {
      const { status, stdout } = await cli.run(['check'], { LML_API_KEY: key });
      expect([status, found(stdout, 'LML')]).toMatchObject([1, { status: 'fail', message }]);
      expect(stdout).not.toContain('sk-of-another');
    }
  });
});

test('LML that is away, another server, or sick fails it, and a busy one is a warning', async ({ cli }) => {
  const away = await cli.run(['check'], { LIBRARY_METADATA_URL: 'http://127.0.0.1:1' });
  expect([away.status, found(away.stdout, 'LML')]).toMatchObject([
    1,
    { status: 'fail', message: expect.stringContaining('nothing listens there (ECONNREFUSED)') },
  ]);
  let answered = 0;
  const other = createHttpServer((_request, response) => response.writeHead(answered).end('')).listen(0);
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  for (const [status, grade] of [
    [404, 'fail'],
    [503, 'fail'],
    [429, 'warn'],
  ] as const) {
    answered = status;
    const ended = await cli.run(['check'], { LIBRARY_METADATA_URL: `http://127.0.0.1:${port}` });
    expect([ended.status, found(ended.stdout, 'LML')!.status]).toEqual([grade === 'fail' ? 1 : 0, grade]);
  }
});

test("without LML's address it says so, and looks at the rest", async ({ cli }) => {
  const { status, stdout } = await cli.run(['check'], { LIBRARY_METADATA_URL: '' });
  expect([status, found(stdout, 'LML')]).toMatchObject([
    1,
    { status: 'fail', message: 'LIBRARY_METADATA_URL is not set' },
  ]);
  expect(found(stdout, 'login')!.status).toBe('ok');
});

test('a database that is away, or has nothing of ours, is named with its cure, and the rest is looked at', async ({
  database,
  cli,
}) => {
  const away = await cli.run(['check'], { DATABASE_URL: 'postgres://wxyc:hunter2@127.0.0.1:1/station' });
  expect(away.status).toBe(1);
  expect(found(away.stdout, 'database')!.message).toMatch(/^no database listens at 127\.0\.0\.1:1/);
  expect(found(away.stdout, 'LML')!.status).toBe('ok');
  expect(away.stdout + away.stderr).not.toContain('hunter2');

  await database.sql`drop schema identity_sync cascade`;
  const empty = await cli.run(['check']);
  expect(empty.status).toBe(1);
  expect(found(empty.stdout, 'database')!.message).toContain('Run identity-sync migrate');
});

test('a port that is taken is a warning, and a trigger without a search_path fails it', async ({
  database,
  cli,
}) => {
  await database.sql.unsafe(`
    create function public.watch() returns trigger language plpgsql as $$
      begin perform from library; return new; end $$;
    create trigger watch after update on wxyc_schema.library_identity
      for each row execute function public.watch()`);
  const server = createServer().listen(0);
  onTestFinished(() => void server.close());
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as AddressInfo;
  const { status, stdout } = await cli.run(['check'], { HEALTH_PORT: String(port) });
  expect(status).toBe(1);
  expect(found(stdout, 'port')).toMatchObject({
    status: 'warn',
    message: expect.stringContaining('is taken'),
  });
  expect(found(stdout, 'triggers')!.message).toContain('a search_path for function public.watch()');
});

test.for([60, 200])(
  'fits a terminal of %d columns, as does the end of a run',
  async (columns, { database, lml }) => {
    const place = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url };
    await shelveAll(database.sql, 'Autechre', 'Björk');
    for (const [args, first] of [
      [['check'], 'fit for what this login may do'],
      [['run', '--dry-run'], 'dry run 1 completed in'],
      // Looking at what a dry run would change took a number, too.
      [['run'], 'run 3 completed in'],
    ] as const) {
      const { status, screen } = await atATerminal([...args], place, columns);
      // What is drawn over does not count.
      const lines = screen.split('\n').map((line) => line.split('\r\x1b[2K').at(-1)!);
      const at = lines.findIndex((line) => line.startsWith(first));
      expect([status, at >= 0], screen).toEqual([0, true]);
      const shown = lines.slice(at);
      expect(Math.max(...shown.map(widthOf)), screen).toBeLessThanOrEqual(columns);
      expect(shown.join('\n')).not.toContain('{');
    }
  },
);
