import { beforeAll, expect, test } from 'vitest';
import { shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();
const LONG_AGO = '2026-01-01Z';
const SINCE = new Date('2026-06-01');
const RECENTLY = '2026-10-01Z';
const IN_THE_FUTURE = new Date(Date.now() + 10 * 60_000).toISOString();

const shelved: Record<string, number> = {};

/** Shelves a record in a state: when its identity was verified, and which attempt it has. */
async function put(name: string, verifiedAt: string | null, outcome: string | null, attemptedAt = RECENTLY) {
  const { sql } = database;
  const id = await shelve(sql, { artist: 'Sun Ra' });
  shelved[name] = id;
  await sql`update wxyc_schema.library set canonical_entity_id = 'artist:1', artist_name = ' ' where id = ${id}`;
  if (verifiedAt)
    await sql`
      insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
      values (${id}, 'exact_match', 1, ${verifiedAt}::text::timestamptz)`;
  if (outcome)
    await sql`
      insert into identity_sync.attempt (library_id, outcome, attempted_at)
      values (${id}, ${outcome}, ${attemptedAt}::text::timestamptz)`;
}

/** Remembers what a record was asked by: its present name with 1, another one with 2, none with null. */
async function ask(name: string, as: number | null) {
  await database.sql`
    insert into identity_sync.asked_as (library_id, fingerprint)
    select id, identity_sync_private.fingerprint(id, artist_name, album_title) + ${as}::bigint - 1
    from wxyc_schema.library where id = ${shelved[name]!}`;
}

beforeAll(async () => {
  await put('never asked', null, null);
  await put('fresh', RECENTLY, null);
  await put('stale', LONG_AGO, null);
  await put('tried lately', null, 'unresolved');
  await put('tried long ago', null, 'unresolved', LONG_AGO);
  await put('released', RECENTLY, 'released');
  await put('stale, but tried lately', LONG_AGO, 'unresolved');
  await put('verified in the future', IN_THE_FUTURE, null);
  await put('verified at no time', 'infinity', null);
  await put('tried in the future', null, 'unresolved', IN_THE_FUTURE);
  await put('tried at no time', LONG_AGO, 'manual_precedence', 'infinity');
  await put('held by hand, but its identity has gone', null, 'manual_precedence');
  await put('fresh, asked as it is called', RECENTLY, null);
  await ask('fresh, asked as it is called', 1);
  for (const [name, verifiedAt, outcome] of [
    ['fresh, renamed', RECENTLY, null],
    ['tried lately, renamed', null, 'unresolved'],
    ['stale, renamed', LONG_AGO, null],
    ['never asked, renamed', null, null],
  ] as const) {
    await put(name, verifiedAt, outcome);
    await ask(name, 2);
  }
  await put('taken back', RECENTLY, null);
  await ask('taken back', null);
});

test('a library is due by its identity, its attempt and its question, not by its name now', async () => {
  const due = await database.sql<{ id: number }[]>`
    select distinct id from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false) as due (id, reason) order by id`;
  const names = [
    ...['never asked', 'stale', 'tried long ago', 'released'],
    ...['verified in the future', 'verified at no time', 'tried in the future', 'tried at no time'],
    'held by hand, but its identity has gone',
    ...['fresh, renamed', 'tried lately, renamed', 'stale, renamed', 'never asked, renamed', 'taken back'],
  ];
  expect(due.map(({ id }) => id)).toEqual(names.map((name) => shelved[name]!).sort((a, b) => a - b));
});

test('each has its reason', async () => {
  const due = await database.sql<{ id: number; reason: string }[]>`
    select id, string_agg(reason, ' and ' order by reason) as reason
    from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false) as due (id, reason)
    group by id`;
  const reasons = Object.fromEntries(due.map(({ id, reason }) => [id, reason]));
  const reasonOf = (name: string) => reasons[shelved[name]!];
  expect(reasonOf('never asked')).toBe('never_asked');
  expect(reasonOf('stale')).toBe('stale');
  expect(reasonOf('tried long ago')).toBe('in_vain');
  expect(reasonOf('released')).toBe('released');
  for (const name of ['fresh, renamed', 'tried lately, renamed', 'taken back'])
    expect(reasonOf(name)).toBe('renamed');
  expect(reasonOf('stale, renamed')).toBe('renamed and stale');
});

test('asked of some libraries, it says of them what it says of all', async () => {
  const { sql } = database;
  const due = await sql<{ library_id: number }[]>`
    select * from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false) order by library_id, reason`;
  expect(due.length).toBeGreaterThan(0);
  for (const id of Object.values(shelved)) {
    const ofOne = await sql`
      select * from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false, array[${id}::integer])
      order by library_id, reason`;
    expect([...ofOne]).toEqual(due.filter((row) => row.library_id === id));
  }
});
