// A file of verdicts is what its bytes say, by every way in and whatever a person's psql, locale and session are like: what a
// repair stores is then held by hand.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { shelveAll, verdict } from '../support/catalogue.js';
import type { Ended } from '../support/cli.js';
import '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { ROOT } from '../support/repository.js';

const PLACE = { LIBRARY_METADATA_URL: 'http://127.0.0.1:1' };
const hasPsql = (() => {
  try {
    return execFileSync('psql', ['--version'], { stdio: 'pipe' }).length > 0;
  } catch {
    return false;
  }
})();

let folder: string;
let database: TestDatabase;
let id: number;
let other: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verdicts-'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  database = await cloneDatabase();
  [id, other] = (await shelveAll(database.sql, 'Björk', 'Sigur Rós')) as [number, number];
});
afterEach(() => database.drop());

function runWith(
  command: string,
  args: string[],
  env: Record<string, string>,
  input: Buffer,
): Promise<Ended> {
  const { PATH } = process.env;
  return new Promise((resolve) => {
    const child = execFile(command, args, { env: { PATH, ...PLACE, ...env } }, (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
    );
    child.stdin!.on('error', () => {}).end(input);
  });
}

/** Each way in, given the same bytes. */
const WAYS: Record<string, (bytes: Buffer, env?: Record<string, string>) => Promise<Ended>> = {
  async 'apply FILE'(bytes, env) {
    await writeFile(join(folder, 'file.json'), bytes);
    const args = [join(ROOT, 'dist/cli.js'), 'apply', join(folder, 'file.json')];
    return await runWith(process.execPath, args, { DATABASE_URL: database.url, ...env }, Buffer.of());
  },
  'apply -': (bytes, env) =>
    runWith(
      process.execPath,
      [join(ROOT, 'dist/cli.js'), 'apply', '-'],
      { DATABASE_URL: database.url, ...env },
      bytes,
    ),
  ...(hasPsql && {
    async psql(bytes, env) {
      await writeFile(join(folder, 'file.json'), bytes);
      const args = [
        database.url,
        '-v',
        `verdicts=${join(folder, 'file.json')}`,
        '-f',
        join(ROOT, 'sql/repair.sql'),
      ];
      return await runWith('psql', args, { PSQLRC: '/dev/null', ...env }, Buffer.of());
    },
  }),
};

async function stored() {
  const [row] = await database.sql`
    select
      (select jsonb_agg(to_jsonb(known) - 'last_verified_at' order by known.library_id)
       from wxyc_schema.library_identity as known) as identities,
      (select jsonb_agg(to_jsonb(leg) - 'last_verified_at' order by leg.library_id, leg.source)
       from wxyc_schema.library_identity_source as leg) as sources,
      (select jsonb_agg(jsonb_build_array(entry.library_id, entry.path, entry.value, entry.reason, entry.verdict_text))
       from identity_sync.quarantined_verdict as entry) as refused`;
  return row as { identities: Record<string, unknown>[] | null; sources: unknown; refused: unknown };
}

const repair = () => ({
  results: [
    {
      ...verdict.resolved(id, 41),
      method: 'name_variation',
      confidence: 0.8999999762,
      provenance: [
        { source: 'discogs', method: 'name_variation', confidence: 0.8999999762, external_id: '41' },
        {
          source: 'bandcamp',
          method: 'name_variation',
          confidence: 0.95,
          external_id: 'björk – \\"é" \u3042',
        },
      ],
    },
    { ...verdict.resolved(other, 42), confidence: 1.25, note: '\u0000 \\s' },
  ],
});

const UTF16 = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le');

describe.each(Object.entries(WAYS))('%s', (_way, apply) => {
  test.each<[string, (text: string) => Buffer]>([
    ['as it is', (text) => Buffer.from(text)],
    ['with a byte order mark', (text) => Buffer.from(`\ufeff${text}`)],
    ['with the line ends of Windows', (text) => Buffer.from(text.replaceAll('\n', '\r\n'))],
    ['with lines after its end', (text) => Buffer.from(`${text}\n\n\r\n`)],
  ])('takes a file %s', async (_, write) => {
    const ended = await apply(write(JSON.stringify(repair(), null, 2)));
    expect(ended.status, ended.stderr).toBe(0);
    const { identities, sources } = await stored();
    expect(identities).toMatchObject([{ library_id: id, discogs_artist_id: 41, confidence: 0.9 }]);
    expect(sources).toMatchObject([{ external_id: 'björk – \\"é" \u3042' }, { external_id: '41' }]);
  });

  test.each<[string, () => Buffer, RegExp]>([
    ['UTF-16', () => UTF16(JSON.stringify(repair())), /is UTF-16 text|invalid multibyte character/],
    [
      'Latin-1',
      () => Buffer.from(JSON.stringify(repair()), 'latin1'),
      /is no UTF-8 text|invalid multibyte character/,
    ],
    [
      'a NUL',
      () => Buffer.from(JSON.stringify(repair()).replace('björk', 'bj\0rk')),
      /holds a NUL|is no JSON|invalid byte/,
    ],
    ['nothing', () => Buffer.of(), /the text is empty/],
    ['half a file', () => Buffer.from(JSON.stringify(repair()).slice(0, -1)), /no JSON: line 1, column \d+/],
    [
      'two documents',
      () => Buffer.from(`${JSON.stringify(repair())}\n${JSON.stringify(repair())}`),
      /no JSON: line 2, column 1: /,
    ],
  ])('refuses %s, and stores nothing', async (_, bytes, words) => {
    const ended = await apply(bytes());
    expect(ended.status).not.toBe(0);
    expect(ended.stderr).toMatch(words);
    expect(await stored()).toEqual({ identities: null, sources: null, refused: null });
  });

  test('stores the same from a hostile session', async () => {
    expect((await apply(Buffer.from(JSON.stringify(repair(), null, 2)))).status).toBe(0);
    const expected = await stored();
    await database.drop();
    database = await cloneDatabase();
    await shelveAll(database.sql, 'Björk', 'Sigur Rós');
    await database.sql.unsafe('create schema evil');
    await database.sql.unsafe(
      `create function evil.identity_snapshot(jsonb) returns jsonb language sql as $$ select '"evil"'::jsonb $$`,
    );
    const name = new URL(database.url).pathname.slice(1);
    for (const setting of [
      'standard_conforming_strings = off',
      'escape_string_warning = off',
      'extra_float_digits = -15',
      `datestyle = 'SQL, DMY'`,
      `timezone = 'Asia/Kolkata'`,
      'intervalstyle = sql_standard',
      'array_nulls = off',
      'transform_null_equals = on',
      'bytea_output = escape',
      'search_path = evil, public, pg_catalog',
    ])
      await database.sql.unsafe(`alter database "${name}" set ${setting}`);
    await writeFile(
      join(folder, 'psqlrc'),
      `\\set AUTOCOMMIT off\n\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n\\encoding LATIN1\n\\pset null NULL\n\\set FETCH_COUNT 1
create temp table quarantined_verdict (settlement_id integer);\n`,
    );

    const ended = await apply(Buffer.from(JSON.stringify(repair(), null, 2)), {
      ...{ LC_ALL: 'C', PGCLIENTENCODING: 'LATIN1', TZ: 'Asia/Kolkata' },
      PSQLRC: join(folder, 'psqlrc'),
    });
    expect(ended.status, ended.stderr).toBe(0);
    expect(await stored()).toEqual(expected);
  });
});
