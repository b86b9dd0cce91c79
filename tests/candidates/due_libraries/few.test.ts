// What is asked of a few libraries reads those, however large the catalogue is.
import { beforeAll, expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';
import { rowsRead } from '../../support/rows-read.js';

const database = useDatabase();
const ROWS = 5000;
const TABLES = ['library', 'library_identity', 'attempt', 'asked_as'];

beforeAll(async () => {
  const { sql } = database;
  await sql`set session_replication_role = replica`;
  await sql`
    insert into wxyc_schema.library
      (id, artist_id, album_title, artist_name, canonical_entity_id, legacy_release_id)
    select id, 1, 'Album ' || id, 'Artist ' || id, 'artist:' || id, id
    from generate_series(1, ${ROWS}::integer) as id`;
  await sql`
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    select id, 'exact_match', 1, now() from wxyc_schema.library where id % 2 = 0`;
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select id, 'unresolved', now() from wxyc_schema.library where id % 2 = 1`;
  await sql`
    insert into identity_sync.asked_as (library_id, fingerprint)
    select id, identity_sync_private.fingerprint(id, artist_name, album_title) from wxyc_schema.library`;
  await sql`reset session_replication_role`;
  await sql`analyze`;
});

test.for([
  ['explaining why one is due', 'select identity_sync.explain_identity(7)'],
  ['selecting those due among a few', 'select identity_sync.identity_candidates(ids => array[7, 8, 9])'],
] as const)('%s reads a few rows of the catalogue', async ([, statement]) => {
  const read = await database.sql.begin(async (sql) => {
    const before = await rowsRead(sql, TABLES);
    await sql.unsafe(statement);
    return (await rowsRead(sql, TABLES)) - before;
  });
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(100);
});
