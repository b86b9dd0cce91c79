import { expect } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('names the call of the writer whose answer a row was verified by', async ({ database: { sql } }) => {
  const [autechre, stereolab] = await shelveAll(sql, 'Autechre', 'Stereolab');
  const runId = await plan(sql);
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf([verdict.resolved(autechre), verdict.resolved(stereolab)]) });
  await call(sql, 'apply_identity_verdicts', { response: [verdict.resolved(stereolab, 42)] });

  const said = await sql`
    select library_id, settlement.run_id, settlement.origin
    from wxyc_schema.library_identity
    cross join lateral identity_sync_private.settlement_of(last_verified_at, library_id) as settlement
    order by library_id`;
  expect(said.map(({ library_id, origin }) => [library_id, origin])).toEqual([
    [autechre, 'consumer:lml-bulk'],
    [stereolab, expect.stringMatching(/^repair:/)],
  ]);
  expect(said[0]!.run_id).toBe(runId);
});

test('of two calls with the same time it is that of the batch which asked for the row', async ({
  database: { sql },
}) => {
  const [autechre, stereolab] = await shelveAll(sql, 'Autechre', 'Stereolab');
  const runId = await plan(sql, { scope: 'ids', ids: [autechre] });
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf([verdict.resolved(autechre)]) });
  await call(sql, 'apply_identity_verdicts', { response: [verdict.resolved(stereolab)] });
  await sql`update identity_sync.settlement set verified_at = '2026-11-27'`;

  const [row] = await sql`
    select
      (identity_sync_private.settlement_of('2026-11-27', ${autechre})).run_id as of_batch,
      (identity_sync_private.settlement_of('2026-11-27', ${stereolab})).origin as by_hand`;
  expect(row).toMatchObject({ of_batch: runId, by_hand: expect.stringMatching(/^repair:/) });
});

test('names none for a row that another writer has set', async ({ database: { sql } }) => {
  const [row] = await sql`
    select (identity_sync_private.settlement_of('2020-01-01T00:00Z', 5)).settlement_id as settlement_id`;
  expect(row!.settlement_id).toBeNull();
});
