// What a batch asks is kept with it.
import { expect, test } from 'vitest';
import { plan, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('a request is kept as the fingerprints of its rows, and a row that it leaves out as none', async () => {
  const { sql } = database;
  await shelve(sql, { artist: 'Autechre', title: 'Confield' });
  const blank = await shelve(sql, 'Sun Ra');
  await plan(sql);
  await sql`update wxyc_schema.library set artist_name = ' ' where id = ${blank}`;

  const [made] = await sql`
    select identity_sync_private.compose_batch_request(batch_id) = identity_sync.identity_batch_request(batch_id) as is_same
    from identity_sync.batch`;

  expect(made).toEqual({ is_same: true });
  const [batch] = await sql`
    select asked_as = array[identity_sync_private.fingerprint(library_ids[1], 'Autechre', 'Confield'), null] as is_kept
    from identity_sync.batch`;
  expect(batch).toEqual({ is_kept: true });
});
