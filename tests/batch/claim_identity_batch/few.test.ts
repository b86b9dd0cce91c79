// A call costs what it carries, however many calls are over, open or kept: years of nights lie behind this database.
import { beforeAll, expect, test } from 'vitest';
import { fillAged } from '../../bench/aged.js';
import { call, claim, plan, resolveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { rowsRead } from '../../support/rows-read.js';

const database = useDatabase();

beforeAll(async () => {
  await fillAged(database.sql, { rows: 5000, runs: 20, keepDays: 10 });
}, 120_000);

test('a claim and a finished call read a few rows of runs, batches, calls and settlements', async () => {
  const { sql } = database;
  const runId = await plan(sql, { include_null_canonical: true, batch_size: 2, va_batch_size: 2 });
  await sql`analyze`;
  const first = await claim(sql, runId);
  const finish = (transaction: typeof sql, claimed: { batch_id: string; request: string }) =>
    call(transaction, 'finish_identity_call', {
      batch_id: claimed.batch_id,
      leased_by: 'lane',
      http_status: 200,
      body: resolveAll(claimed.request),
      failure: null,
      latency_ms: 1,
    });
  const read = await sql.begin(async (transaction) => {
    const before = await rowsRead(transaction, ['run', 'batch', 'lml_call', 'settlement']);
    await claim(transaction as never, runId, { answered: first.batch_id });
    expect(await finish(transaction as never, first)).toMatchObject([{ outcome: 'applied' }]);
    return (await rowsRead(transaction, ['run', 'batch', 'lml_call', 'settlement'])) - before;
  });
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(200);
});
