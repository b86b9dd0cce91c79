import { expect } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('counts of an ended run what a person asks for first', async ({ database: { sql } }) => {
  const [autechre, stereolab, sessa, juana] = await shelveAll(
    sql,
    'Autechre',
    'Stereolab',
    'Sessa',
    'Juana Molina',
  );
  const verdicts = [
    verdict.resolved(autechre),
    verdict.unresolved(stereolab),
    verdict.compilation(sessa),
    verdict.invalid(juana),
  ];
  const runId = await plan(sql);
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf(verdicts) });

  const [row] = await sql`
    select identity_sync_private.describe_ended_run(run) as run from identity_sync.run where run_id = ${runId}`;
  expect(row!.run).toMatchObject({
    run_id: Number(runId),
    scope: 'due',
    outcome: 'completed',
    planned: 4,
    scanned: 4,
    new: 1,
    changed: 0,
    confirmed: 0,
    compilations: 1,
    unresolved: 1,
    refused: 1,
    left: 0,
  });
});

test('counts what got no answer as left, and not as refused', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre', 'Stereolab');
  const runId = await plan(sql);
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { status: 401, body: '{}' });
  await sql`update identity_sync.run set started_at = finished_at - interval '1.23 seconds'`;

  const [row] = await sql`
    select identity_sync_private.describe_ended_run(run) as run from identity_sync.run where run_id = ${runId}`;
  expect(row!.run).toMatchObject({ outcome: 'failed', scanned: 2, refused: 0, left: 2, took_seconds: 1.2 });
});

test('counts of a run by hand nothing as left', async ({ database: { sql } }) => {
  const [autechre] = await shelveAll(sql, 'Autechre');
  await call(sql, 'hold_identity', { library_id: autechre, reason: 'right as it is' });

  const [row] = await sql`select identity_sync_private.describe_ended_run(run) as run from identity_sync.run`;
  expect(row!.run).toMatchObject({ scope: 'hold', outcome: 'completed', scanned: 0, new: 0, left: 0 });
});
