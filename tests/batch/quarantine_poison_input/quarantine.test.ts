import { afterEach, beforeEach, expect, test } from 'vitest';
import { candidates, claim, plan, settle, shelve } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { batchOf, reportOf, written } from '../../support/ledger.js';

let database: TestDatabase;
let id: number;

beforeEach(async () => {
  database = await cloneDatabase();
  id = await shelve(database.sql, 'Autechre');
});
afterEach(() => database.drop());

async function poison(parameters: Record<string, unknown>, body: string) {
  const runId = await plan(database.sql, { scope: 'ids', ids: [id], ...parameters });
  const { batch_id } = await claim(database.sql, runId);
  expect(await settle(database.sql, batch_id, { status: 422, body })).toBe('poison_input');
  return { runId, batchId: batch_id };
}

async function entries() {
  const rows = await database.sql`
    select library_id, outcome, reason, verdict_text, strict_bands, closed_reason
    from identity_sync.quarantined_verdict order by quarantine_id`;
  return rows.map((row) => ({ ...row }));
}

test('names the input with the status and words of LML, and closes its batch as poisoned', async () => {
  const body = '{"message":"none is not an allowed value"}';
  const { runId, batchId } = await poison({ strict_bands: true }, body);
  const reason = 'LML answered 422: none is not an allowed value';

  expect(await batchOf(database.sql, batchId)).toMatchObject({
    ...{ state: 'poisoned', is_done: true, failure: reason },
    ...{ leased_by: null, answered_at: null, answer: null },
  });
  expect(await entries()).toEqual([
    {
      ...{ library_id: id, outcome: 'poison_input', reason },
      ...{ verdict_text: body, strict_bands: true, closed_reason: null },
    },
  ]);
  expect(await reportOf(database.sql, runId)).toMatchObject({
    scanned: 1,
    rows_skipped: { poison_input: 1 },
    quarantined: 1,
    left: 0,
    failed_batches: 0,
  });
  expect(await candidates(database.sql)).toEqual([]);
  expect(await candidates(database.sql, { unresolved_retry_days: 0 })).toEqual([id]);
});

test('a later refusal takes the place of the earlier one, and keeps so much of the body that it can be read', async () => {
  await poison({}, 'first');
  await poison({}, `${'x'.repeat(20_000)}`);
  expect(await entries()).toMatchObject([
    { verdict_text: 'first', closed_reason: expect.stringMatching(/^a later refusal, settlement \d+$/) },
    { verdict_text: 'x'.repeat(10_000), closed_reason: null },
  ]);
});

test('in a dry run is counted, and nothing else', async () => {
  const { runId } = await poison({ dry_run: true }, 'no');
  expect(await reportOf(database.sql, runId)).toMatchObject({
    scanned: 1,
    rows_skipped: { poison_input: 1 },
  });
  expect(await written(database.sql)).toEqual([]);
  expect(await candidates(database.sql)).toEqual([id]);
});

test.each([false, true])(
  'leaves neither mark nor entry where the library has gone since (dry run: %s)',
  async (dry) => {
    const runId = await plan(database.sql, { scope: 'ids', ids: [id], dry_run: dry });
    const { batch_id } = await claim(database.sql, runId);
    await database.sql`delete from wxyc_schema.library where id = ${id}`;
    await settle(database.sql, batch_id, { status: 422 });

    expect(await batchOf(database.sql, batch_id)).toMatchObject({ state: 'empty', failure: null });
    expect(await reportOf(database.sql, runId)).toMatchObject({
      ...{ scanned: 1, outcome: 'completed' },
      rows_skipped: { library_gone: 1, poison_input: 0 },
    });
    expect(await entries()).toEqual([]);
    expect(await written(database.sql)).toEqual([]);
  },
);
