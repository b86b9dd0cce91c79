// A session's plans are made in its first run, while the tables are empty, and last for as long as it does. Compilations
// are asked first, so that no identity is there when the plans for their answers are made.
import type { ReservedSql } from 'postgres';
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';
import { rowsRead } from '../../support/rows-read.js';

const database = useDatabase();
const ROWS = 2000;
const COMPILATIONS = Array.from({ length: ROWS / 100 }, (_, index) => 100 * (index + 1));

test('a session that began with compilations reads no identities for them later', async () => {
  const { sql } = database;
  await sql`set session_replication_role = replica`;
  await sql`
    insert into wxyc_schema.library (id, artist_id, album_title, artist_name, canonical_entity_id, legacy_release_id)
    select id, 1, 'Album ' || id, 'Artist ' || id, 'artist:' || id, id
    from generate_series(1, ${ROWS}::integer) as id`;
  await sql`analyze`;
  const session = await sql.reserve();
  for (let night = 0; night < 10; night++) await answer(session);
  await session`
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    select id, 'exact_match', 1, now() from wxyc_schema.library where id % 100 <> 0`;

  await session`begin`;
  const before = await rowsRead(session, ['library_identity']);
  await answer(session);
  const read = (await rowsRead(session, ['library_identity'])) - before;
  await session`rollback`;
  session.release();
  expect(read).toBeLessThan(100);
});

/** LML knows the compilations, and has not looked at their tracks. */
function answer(session: ReservedSql) {
  const results = COMPILATIONS.map((library_id) => ({ library_id, kind: 'compilation', provenance: [] }));
  return session.unsafe('select identity_sync.apply_identity_response($1, $2, $3)', [
    JSON.stringify({ results }),
    `{${COMPILATIONS}}`,
    'consumer:lml-bulk',
  ]);
}
