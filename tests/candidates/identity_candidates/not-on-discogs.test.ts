import { beforeAll, expect, test } from 'vitest';
import { candidates, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();
let ids: number[];
let unavailable: number;

beforeAll(async () => {
  const { sql } = database;
  ids = await shelveAll(
    sql,
    { artist: 'Various', volumeLetters: 'Z' },
    { artist: 'Various', volumeLetters: 'Z' },
  );
  unavailable = ids[1]!;
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select id, 'compilation', now() - interval '31 days' from wxyc_schema.library`;
  await sql`alter table wxyc_schema.library add column discogs_unavailable boolean`;
  await sql`update wxyc_schema.library set discogs_unavailable = true where id = ${unavailable}`;
});

test.each(['due', 'refresh', 'recheck'])(
  'a release that is not on Discogs is left out of the scope %s',
  async (scope) => {
    expect(await candidates(database.sql, { scope })).toEqual([ids[0]]);
    expect(await candidates(database.sql, { scope, ids })).toEqual([ids[0]]);
  },
);

test('and asked about where somebody names it', async () => {
  expect(await candidates(database.sql, { scope: 'ids', ids: [unavailable] })).toEqual([unavailable]);
});
