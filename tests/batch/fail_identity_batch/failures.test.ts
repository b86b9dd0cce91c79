import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { call, candidates, claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { batchOf, everything, reportOf, written } from '../../support/ledger.js';

let database: TestDatabase;
let autechre: number;
let stereolab: number;

beforeEach(async () => {
  database = await cloneDatabase();
  [autechre, stereolab] = await shelveAll(database.sql, 'Autechre', 'Stereolab');
});
afterEach(() => database.drop());

describe('a failure', () => {
  test('of the database, to the end, counts as writer_error, with no mark and no quarantine', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await fail(batch_id, { failure: 'could not extend file: No space left', counted_as: 'writer_error' });

    expect(await reportOf(database.sql, runId)).toMatchObject({
      scanned: 2,
      rows_skipped: { writer_error: 2, lml_error: 0 },
      failed_batches: 1,
      quarantined: 0,
      outcome: 'failed',
      outcome_reason: '1 of its batches failed: could not extend file: No space left',
    });
    expect(await written(database.sql)).toEqual([]);
    expect(await candidates(database.sql)).toEqual([autechre, stereolab]);
  });

  test('is counted once, and never undoes what was applied', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const settled = await claim(database.sql, runId);
    await settle(database.sql, settled.batch_id, { body: resolveAll(settled.request) });
    const failed = await claim(database.sql, runId);
    await fail(failed.batch_id, { failure: 'LML answered 500' });
    const before = await everything(database.sql);

    for (const batch_id of [settled.batch_id, failed.batch_id, '987654321']) {
      await fail(batch_id, { failure: 'and again' });
    }
    expect(await everything(database.sql)).toEqual(before);
  });

  test('of one leased_by does not fail the batch of the next', async () => {
    const { batch_id } = await claim(database.sql, await plan(database.sql), {
      leased_by: 'late',
      lease_ms: 0,
    });
    await claim(database.sql, await plan(database.sql), { leased_by: 'alive' });

    await fail(batch_id, { failure: 'disk full', counted_as: 'writer_error', leased_by: 'late' });
    expect(await batchOf(database.sql, batch_id)).toMatchObject({ state: 'in_flight', leased_by: 'alive' });
  });
});

const fail = (batchId: string, args: Record<string, unknown>) =>
  call(database.sql, 'fail_identity_batch', { batch_id: batchId, ...args });
