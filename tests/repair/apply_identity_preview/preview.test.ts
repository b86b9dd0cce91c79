// A dry run keeps its answers, so that what was previewed can be written without asking LML again.
import { expect, test } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { identified } from '../../support/faults.js';

const database = useDatabase();

async function apply(runId: string | null) {
  const [row] = await call<{ apply_identity_preview: Record<string, unknown> }>(
    database.sql,
    'apply_identity_preview',
    { run_id: runId },
  );
  return row!.apply_identity_preview;
}

/** A dry run of two records, of which LML resolves the first. */
async function dryRun() {
  const ids = await shelveAll(database.sql, 'Stereolab', 'Broadcast');
  const runId = await plan(database.sql, { scope: 'ids', ids, dry_run: true });
  const { batch_id } = await claim(database.sql, runId);
  const body = answerOf([verdict.resolved(ids[0]), verdict.unresolved(ids[1])]);
  return { runId, ids, answer: () => settle(database.sql, batch_id, { body }) };
}

test('what was previewed is written, and a second time nothing changes', async () => {
  const { runId, ids, answer } = await dryRun();
  await answer();
  expect(await identified(database.sql)).not.toContain(ids[0]);

  expect(await apply(runId)).toMatchObject({ scanned: 2, rows_resolved: 1, identity: { inserted: 1 } });
  expect(await identified(database.sql)).toContain(ids[0]);

  expect(await apply(runId)).toMatchObject({
    scanned: 2,
    identity: { inserted: 0, changed: 0, unchanged: 1 },
  });
});

test('it is as old as its answers: a row that is newer stays', async () => {
  const { runId, ids, answer } = await dryRun();
  await answer();
  const newer = JSON.stringify(verdict.resolved(ids[0], 77));
  await database.sql`
    select identity_sync.apply_identity_verdicts(${newer}::text::jsonb, origin => 'consumer:lml-bulk')`;

  expect(await apply(runId)).toMatchObject({ rows_resolved: 0, rows_skipped: { stale_verdict: 1 } });
});

test('what was let go of since is not brought back', async () => {
  const { runId, ids, answer } = await dryRun();
  await answer();
  for (const library_id of ids)
    await call(database.sql, 'release_identity', { library_id, reason: 'the wrong band' });

  expect(await apply(runId)).toMatchObject({ rows_resolved: 0, rows_skipped: { stale_verdict: 2 } });

  expect(await identified(database.sql)).not.toContain(ids[0]);
  const marks = await database.sql`select outcome from identity_sync.attempt where library_id = any (${ids})`;
  expect([...marks]).toEqual([{ outcome: 'released' }, { outcome: 'released' }]);
});

test('a run that is unknown is refused', async () => {
  await expect(apply('4000000')).rejects.toMatchObject({ code: 'LS002' });
  await expect(apply(null)).rejects.toMatchObject({ code: 'LS002' });
});

test('a run that was no dry run, is not over, or whose answers are gone is refused', async () => {
  const { sql } = database;
  const [id] = await shelveAll(sql, 'Laika');
  const real = await plan(sql, { scope: 'ids', ids: [id] });
  await expect(apply(real)).rejects.toMatchObject({ code: 'LS004', message: `run ${real} was no dry run` });

  const { runId, answer } = await dryRun();
  await expect(apply(runId)).rejects.toMatchObject({
    code: 'LS004',
    message: `dry run ${runId} is not over`,
  });

  await answer();
  await sql`update identity_sync.run set finished_at = finished_at - interval '31 days' where run_id = ${runId}`;
  await call(sql, 'prune_identity_sync', { keep_days: 30 });
  await expect(apply(runId)).rejects.toMatchObject({
    code: 'LS004',
    message: `the answers of dry run ${runId} are gone`,
  });
});
