import { beforeAll, expect, test } from 'vitest';
import { shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();
const LONG_AGO = new Date('2026-01-01');
const SINCE = new Date('2026-06-01');
const RECENTLY = new Date('2026-10-01');

const shelved: Record<string, number> = {};

/** Shelves a record in a state: when its identity was verified, and which attempt it has. */
async function put(name: string, verifiedAt: Date | null, outcome: string | null, attemptedAt = RECENTLY) {
  const { sql } = database;
  const id = await shelve(sql, { artist: 'Sun Ra' });
  shelved[name] = id;
  await sql`update wxyc_schema.library set canonical_entity_id = 'artist:1', artist_name = ' ' where id = ${id}`;
  if (verifiedAt)
    await sql`
      insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
      values (${id}, 'exact_match', 1, ${verifiedAt})`;
  if (outcome)
    await sql`
      insert into identity_sync.attempt (library_id, outcome, attempted_at) values (${id}, ${outcome}, ${attemptedAt})`;
}

beforeAll(async () => {
  await put('never asked', null, null);
  await put('fresh', RECENTLY, null);
  await put('stale', LONG_AGO, null);
  await put('tried lately', null, 'unresolved');
  await put('tried long ago', null, 'unresolved', LONG_AGO);
  await put('released', RECENTLY, 'released');
  await put('stale, but tried lately', LONG_AGO, 'unresolved');
});

test('a library is due once, by its identity and its attempt alone, not by its name', async () => {
  const due = await database.sql<{ id: number }[]>`
    select id from identity_sync_private.due_libraries(${SINCE}, ${SINCE}, false) as due (id) order by id`;
  const names = ['never asked', 'stale', 'tried long ago', 'released'];
  expect(due.map(({ id }) => id)).toEqual(names.map((name) => shelved[name]!).sort((a, b) => a - b));
});
