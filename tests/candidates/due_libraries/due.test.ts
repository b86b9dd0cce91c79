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
});

test('a library is due once, by its identity and its attempt alone, not by its name', async () => {
  const due = await database.sql<{ id: number }[]>`
    select id from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false) as due (id) order by id`;
  const names = [
    ...['never asked', 'stale', 'tried long ago', 'released'],
    ...['verified in the future', 'verified at no time', 'tried in the future', 'tried at no time'],
    'held by hand, but its identity has gone',
  ];
  expect(due.map(({ id }) => id)).toEqual(names.map((name) => shelved[name]!).sort((a, b) => a - b));
});
