// Every column that is kept of a row is compared, save for keys, times and what PostgreSQL computes.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['identity', 'library_identity', ['library_id', 'last_verified_at', 'distinct_unresolved_sources']],
  ['source discogs', 'library_identity_source', ['library_id', 'source', 'last_verified_at']],
  ['track 7', 'compilation_track_artist', ['id', 'library_id', 'artist_name', 'track_title']],
])('of a row called %s these of %s', async (row, table, left) => {
  const [compared] = await database.sql<[{ columns: string[] }]>`
    select identity_sync_private.compared_columns(${row}) as columns`;
  const columns = await database.sql`
    select column_name as name from information_schema.columns
    where table_schema = 'wxyc_schema' and table_name = ${table}`;
  const all = columns.map(({ name }) => name).filter((name) => !/^(created|updated)_/.test(name));
  expect([...compared.columns, ...left].sort()).toEqual(all.sort());
});
