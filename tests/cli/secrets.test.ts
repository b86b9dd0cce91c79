// A command that fails shows no secret on standard output or standard error, and stores none.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { shelve } from '../support/catalogue.js';
import { cli, killLeftovers } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';

const PASSWORD = 'hunter/2 é';
const IN_A_URL = encodeURIComponent(PASSWORD);
const KEY = 'sk-live-2f6a91bd';

let database: TestDatabase;
let lml: StandIn;

beforeAll(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities: new Map(), apiKey: 'sk-another-one' });
  await shelve(database.sql, 'Autechre');
});

afterAll(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

/** The address of the database, with a part of it changed. */
function address(parts: Partial<URL>): string {
  return Object.assign(new URL(database.url), parts).href;
}

/** The secrets that a text gives away. */
function secretsIn(text: string): string[] {
  const secrets = [PASSWORD, IN_A_URL, 'hunter', KEY, new URL(database.url).password];
  return secrets.filter((secret) => secret !== '' && text.includes(secret));
}

describe.each(['migrate', 'run'])('%s', (command) => {
  const failures: [string, () => string][] = [
    ['a wrong password', () => address({ username: 'nobody_here', password: IN_A_URL })],
    ['a port without a listener', () => address({ port: '1', password: IN_A_URL })],
    ['a host that is not there', () => address({ hostname: 'db.invalid', password: IN_A_URL })],
    ['a database that is not there', () => address({ pathname: '/nowhere' })],
    ['a password in the query', () => `${address({ port: '1', password: '' })}?password=${IN_A_URL}`],
  ];

  test.each(failures)('with %s fails in words, of which the password is none', async (_, url) => {
    const ended = await cli([command], {
      DATABASE_URL: url(),
      LIBRARY_METADATA_URL: lml.url,
      LML_API_KEY: KEY,
    });
    expect(ended.status).toBe(1);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).toContain('identity-sync: ');
    expect(secretsIn(ended.stdout + ended.stderr)).toEqual([]);
  });
});

test('on a database without the schema, run says what is missing', async () => {
  const ended = await cli(['run'], {
    DATABASE_URL: address({ pathname: '/template1' }),
    LIBRARY_METADATA_URL: lml.url,
    LML_API_KEY: KEY,
  });
  expect(ended.status).toBe(1);
  expect(ended.stderr).toContain('this database has nothing of identity-sync');
  expect(secretsIn(ended.stdout + ended.stderr)).toEqual([]);
});

test('a call that fails on its way says nothing of the key', async () => {
  const ended = await cli(['run'], {
    DATABASE_URL: database.url,
    LIBRARY_METADATA_URL: 'http://127.0.0.1:1',
    LML_API_KEY: KEY,
    LML_MAX_TRIES: '1',
  });
  expect(ended.status).toBe(1);
  expect(secretsIn(ended.stdout + ended.stderr)).toEqual([]);
  expect(secretsIn(await storedTexts())).toEqual([]);
});

test("what LML's URL asks for is in no log line and no error, since it may hold a token", async () => {
  for (const url of [
    `http://127.0.0.1:1/?token=${KEY}`,
    `ftp://lml/?token=${KEY}`,
    `http://bob:x@lml/#${KEY}`,
  ]) {
    const ended = await cli(['run'], {
      DATABASE_URL: database.url,
      LIBRARY_METADATA_URL: url,
      LML_MAX_TRIES: '1',
    });
    expect(ended.status).not.toBe(0);
    expect(secretsIn(ended.stdout + ended.stderr)).toEqual([]);
  }
});

test('a key that LML refuses is nowhere, even where LML says it back', async () => {
  const echo = await startStandIn({
    identities: new Map(),
    answer: ({ index }) => ({
      status: 401,
      body: JSON.stringify({ message: `no such key: ${echo.calls[index]!.headers.authorization}` }),
    }),
  });
  const ended = await cli(['run'], {
    DATABASE_URL: database.url,
    LIBRARY_METADATA_URL: echo.url,
    LML_API_KEY: KEY,
  });
  await echo.close();

  expect(echo.calls[0]!.headers.authorization).toBe(`Bearer ${KEY}`);
  expect(ended.status).toBe(1);
  expect(secretsIn(ended.stdout + ended.stderr)).toEqual([]);
  expect(secretsIn(await storedTexts())).toEqual([]);
});

/** All that the service stores. */
async function storedTexts(): Promise<string> {
  const tables = await database.sql<{ name: string }[]>`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema in ('identity_sync', 'graphile_worker')`;
  const texts = await Promise.all(
    tables.map(({ name }) =>
      database.sql.unsafe(`select string_agg(row::text, ' ') as text from ${name} as row`),
    ),
  );
  return texts.map(([row]) => row!.text).join('\n');
}
