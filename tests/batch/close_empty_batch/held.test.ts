// A batch of which nothing is left to request is closed by a claim, which does not wait.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claim, plan, shelve, tryToClaim } from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { batchesOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let runId: string;
let other: ReturnType<typeof connect>;

beforeEach(async () => {
  database = await cloneDatabase();
  const gone = await shelve(database.sql, 'Autechre');
  await shelve(database.sql, 'Stereolab');
  await shelve(database.sql, 'Sessa');
  runId = await plan(database.sql, { batch_size: 1 });
  await database.sql`delete from wxyc_schema.library where id = ${gone}`;
  other = connect(database.url);
});
afterEach(() => database.drop());

test.each([
  [
    'the library',
    `select identity_sync_private.lock_identities(library_ids) from identity_sync.batch limit 1`,
  ],
  ['the run', `select from identity_sync.run for no key update`],
])('while another session holds %s it is put off, and the next batch is handed out', async (_, hold) => {
  await other`begin`;
  await other.unsafe(hold);
  const next = await claim(database.sql, runId, { leased_by: 'lane' });
  const [empty, claimed] = await batchesOf(database.sql, runId);
  expect(empty).toMatchObject({ state: 'open', tries: 0, not_before: expect.any(Date) });
  expect(claimed).toMatchObject({ batch_id: next.batch_id, state: 'in_flight' });

  await other`commit`;
  await database.sql`update identity_sync.batch set not_before = null`;
  await claim(database.sql, runId, { leased_by: 'another lane' });
  expect((await batchesOf(database.sql, runId))[0]).toMatchObject({ state: 'empty' });
});

test('the last of its run ends the run', async () => {
  await database.sql`delete from wxyc_schema.library`;
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed' });
});
