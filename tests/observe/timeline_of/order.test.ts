// One library's story, the newest first.
import { expect } from 'vitest';
import { answerOf, call, claim, plan, settle, shelve, verdict } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('tells of a question, a refusal, its dismissal and an identity, the newest first', async ({
  database: { sql },
}) => {
  const id = await shelve(sql, 'Autechre');
  const runId = await plan(sql);
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf([{ ...verdict.resolved(id), confidence: 7 }]) });
  const [{ quarantine_id }] = await sql<
    [{ quarantine_id: string }]
  >`select quarantine_id from identity_sync.quarantine`;
  await call(sql, 'dismiss_quarantined_verdict', { quarantine_id, reason: 'a typing mistake' });
  await call(sql, 'apply_identity_verdicts', { response: [verdict.resolved(id)] });

  const [row] = await sql`select identity_sync_private.timeline_of(${id}) as timeline`;
  const told = row!.timeline as { kind: string; run_id: number | null; what: string; at: string }[];
  expect(told.map(({ kind, run_id }) => [kind, run_id === Number(runId)])).toEqual([
    ['identified', false],
    ['quarantine_closed', false],
    ['quarantined', true],
    ['asked', true],
  ]);
  expect(told[2]).toMatchObject({
    what: expect.stringMatching(/^invalid_verdict: confidence is 7/),
    changes: [{ row: 'verdict', column: 'confidence', old: null, new: 7 }],
  });
  expect(told.map(({ at }) => at)).toEqual(
    told
      .map(({ at }) => at)
      .toSorted()
      .reverse(),
  );
});

test('tells when a question failed, and nothing of another library', async ({ database: { sql } }) => {
  const [id, other] = [await shelve(sql, 'Autechre'), await shelve(sql, 'Stereolab')];
  const runId = await plan(sql);
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf([{ ...verdict.resolved(other), confidence: 7 }]) });
  const [{ quarantine_id }] = await sql<
    [{ quarantine_id: string }]
  >`select quarantine_id from identity_sync.quarantine`;
  await call(sql, 'dismiss_quarantined_verdict', { quarantine_id, reason: 'a typing mistake' });
  const again = await claim(sql, await plan(sql, { scope: 'ids', ids: [id] }));
  await settle(sql, again.batch_id, { status: 404 });

  const [row] = await sql`select identity_sync_private.timeline_of(${id}) as timeline`;
  expect(row!.timeline).toMatchObject([
    { kind: 'asked', at: expect.any(String), what: expect.stringContaining('LML answered 404') },
    { kind: 'asked', at: expect.any(String), what: `batch ${batch_id}: applied` },
  ]);
});
