// A lane that waits to hand its answer over again keeps its batch for as long as it waits.
import { beforeEach, expect, test } from 'vitest';
import { call, claim, plan, resolveAll, settle, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchOf, everything } from '../../support/ledger.js';

const database = useDatabase();
let leased: Awaited<ReturnType<typeof claim>>;
let runId: string;

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  await shelve(database.sql, 'Autechre');
  runId = await plan(database.sql);
  leased = await claim(database.sql, runId, { leased_by: 'lane', lease_ms: 0 });
});

const renew = (batchId: string, leasedBy: string) =>
  call(database.sql, 'renew_identity_lease', { batch_id: batchId, leased_by: leasedBy, lease_ms: 60_000 });

test('a renewed lease keeps the batch from another lane, and the answer is written', async () => {
  await renew(leased.batch_id, 'lane');
  await expect(claim(database.sql, runId, { leased_by: 'other' })).rejects.toThrow('gives no batch');
  expect(await settle(database.sql, leased.batch_id, { body: resolveAll(leased.request) })).toBe('applied');
});

test('no lane renews the lease of another', async () => {
  const before = await everything(database.sql);
  await renew(leased.batch_id, 'other');
  expect(await everything(database.sql)).toEqual(before);
});

test('a batch that is over has no lease any more', async () => {
  await settle(database.sql, leased.batch_id, { body: resolveAll(leased.request) });
  await renew(leased.batch_id, 'lane');
  expect(await batchOf(database.sql, leased.batch_id)).toMatchObject({
    state: 'applied',
    leased_until: null,
  });
});
