import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { call, claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { batchOf } from '../../support/ledger.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
  await shelveAll(database.sql, 'Autechre', 'Stereolab');
});
afterEach(() => database.drop());

describe('a batch returned', () => {
  test('can be claimed at once, and the answer of the lane that returned it is lost', async () => {
    const runId = await plan(database.sql);
    const given = await claim(database.sql, runId, { leased_by: 'stopped', concurrency: 1 });
    await giveBack(given.batch_id, 'stopped');

    expect(await batchOf(database.sql, given.batch_id)).toMatchObject({
      state: 'open',
      leased_by: null,
      leased_until: null,
    });
    const came = { leased_by: 'stopped', body: resolveAll(given.request) };
    expect(await settle(database.sql, given.batch_id, came)).toBe('lost');
    const found = await claim(database.sql, runId, { leased_by: 'next', concurrency: 1 });
    expect(found.batch_id).toBe(given.batch_id);
  });

  test('by a lane without its lease stays where it is', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const [leased, settled] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    await settle(database.sql, settled.batch_id, { body: resolveAll(settled.request) });

    await giveBack(leased.batch_id, 'another lane');
    await giveBack(settled.batch_id, 'lane');
    expect(await batchOf(database.sql, leased.batch_id)).toMatchObject({
      state: 'in_flight',
      leased_by: 'lane',
    });
    expect(await batchOf(database.sql, settled.batch_id)).toMatchObject({ state: 'applied' });
  });
});

const giveBack = (batchId: string, leased_by: string) =>
  call(database.sql, 'return_identity_batch', { batch_id: batchId, leased_by });
