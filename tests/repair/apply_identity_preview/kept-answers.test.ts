// A dry run can be applied as long as its answers are kept, and exactly what was answered is written.
import { beforeEach, expect, test } from 'vitest';
import {
  answerOf,
  call,
  candidates,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
  untilWaiting,
  verdict,
} from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';
import { identified } from '../../support/faults.js';
import { reportOf, runOf } from '../../support/ledger.js';
import { lastRun } from '../../support/undo.js';

const database = useDatabase();
let ids: [number, number, number];

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run, identity_sync.settlement cascade`;
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
});

async function apply(runId: string) {
  const [row] = await call<{ apply_identity_preview: object }>(database.sql, 'apply_identity_preview', {
    run_id: runId,
  });
  return row!.apply_identity_preview;
}

test('answers that were pruned are named as gone, and nothing is written', async () => {
  const runId = await plan(database.sql, { dry_run: true });
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  await database.sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  await call(database.sql, 'prune_identity_sync', { keep_days: 30 });

  expect((await runOf(database.sql, runId)).batches_pruned_at).toBeInstanceOf(Date);
  await expect(apply(runId)).rejects.toMatchObject({
    code: 'LS004',
    message: `the answers of dry run ${runId} are gone`,
  });
  expect(await identified(database.sql)).toEqual([]);
});

test('a poison input that the dry run named is quarantined, and a second time nothing changes', async () => {
  const runId = await plan(database.sql, { dry_run: true, scope: 'ids', ids: ids.slice(0, 2) });
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { status: 422 });
  await settle(database.sql, (await claim(database.sql, runId)).batch_id, { status: 422 });
  const second = await claim(database.sql, runId);
  await settle(database.sql, second.batch_id, { body: answerOf([verdict.resolved(ids[1])]) });

  const previewed = await reportOf(database.sql, runId);
  expect(await candidates(database.sql)).toContain(ids[0]);
  const applied = await apply(runId);
  expect(applied).toMatchObject({ scanned: 2, rows_resolved: 1, rows_skipped: { poison_input: 1 } });
  expect(applied).toMatchObject({ rows_skipped: previewed.rows_skipped });
  expect(await candidates(database.sql)).not.toContain(ids[0]);
  const entries = () =>
    database.sql`
    select library_id, outcome, reason, run_id from identity_sync.quarantine`.then((rows) => [...rows]);
  const quarantined = await entries();
  expect(quarantined).toMatchObject([
    {
      library_id: ids[0],
      outcome: 'poison_input',
      reason: expect.stringContaining('422'),
      run_id: await lastRun(database.sql),
    },
  ]);

  expect(await apply(runId)).toMatchObject({ scanned: 2, identity: { unchanged: 1 } });
  expect(await entries()).toEqual(quarantined);
});

test('a dry run that failed in part is applied as far as it was answered', async () => {
  const runId = await plan(database.sql, { dry_run: true, batch_size: 1 });
  for (const { batch_id } of [await claim(database.sql, runId), await claim(database.sql, runId)])
    await settle(database.sql, batch_id, { status: 404 });
  const answered = await claim(database.sql, runId);
  await settle(database.sql, answered.batch_id, { body: answerOf([verdict.resolved(ids[2])]) });

  expect(await apply(runId)).toMatchObject({ scanned: 1, rows_resolved: 1 });
  expect(await identified(database.sql)).toEqual([ids[2]]);
});

test('a dry run that got no answer says so, and nothing is reported as applied', async () => {
  const runId = await plan(database.sql, { dry_run: true, scope: 'ids', ids: ids.slice(0, 1) });
  await settle(database.sql, (await claim(database.sql, runId)).batch_id, { status: 404 });
  await expect(apply(runId)).rejects.toMatchObject({
    code: 'LS004',
    message: `dry run ${runId} got no answer`,
  });
});

test('pruning waits for a preview that is being applied', async () => {
  const runId = await plan(database.sql, { dry_run: true });
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  await database.sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  const [applying, pruning] = [connect(database.url), connect(database.url)];
  await applying`begin`;
  expect(await applying`select identity_sync.apply_identity_preview(${runId})`).toHaveLength(1);
  const pruned = call(pruning, 'prune_identity_sync', { keep_days: 30 });
  await untilWaiting(database.sql);
  await applying`commit`;
  await pruned;
  expect(await identified(database.sql)).toEqual(ids);
});

test('what was gone when it was to be requested is gone when it is applied', async () => {
  const runId = await plan(database.sql, { dry_run: true, scope: 'ids', ids: ids.slice(0, 1) });
  await database.sql`delete from wxyc_schema.library where id = ${ids[0]}`;
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await apply(runId)).toMatchObject({ scanned: 1, rows_skipped: { library_gone: 1 } });
});
