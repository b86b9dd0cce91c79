// Every call of the writer belongs to a run, also one without calls to LML.
import postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { lastRun } from '../../support/undo.js';
import { DILATE, ERASER, type Fields, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

beforeEach(async () => {
  await writer.sql`truncate identity_sync.run, identity_sync.batch cascade`;
  // The writer's catalogue names its one artist by id.
  await writer.sql`select setval('wxyc_schema.artists_id_seq', 1)`;
});

async function runs(): Promise<Fields[]> {
  const rows = await writer.sql`
    select scope, of_run_id::integer, ids, dry_run, planned, finished_at is not null as is_over, outcome
    from identity_sync.run order by run_id`;
  return [...rows];
}

const over = { of_run_id: null, ids: null, dry_run: false, is_over: true, outcome: 'completed' };
const invalid = { ...singleArtist(DILATE), method: null };

test('a repair is a run that is over at once, and its report is what the writer returned', async () => {
  const report = await writer.repair([singleArtist(DILATE), singleArtist(ERASER)]);

  expect(await runs()).toEqual([{ ...over, scope: 'repair', planned: 2 }]);
  const [row] = await writer.sql`select identity_sync.identity_run_report() as report`;
  expect(row!.report).toMatchObject({
    ...report,
    scope: 'repair',
    left: 0,
    lml_total_calls: 0,
    warnings: [],
  });
});

test('a repair of which more was refused than settled is a run that failed', async () => {
  await writer.repair([invalid]);
  expect(await runs()).toEqual([{ ...over, scope: 'repair', planned: 1, outcome: 'failed' }]);
  const [run] = await writer.sql`select outcome_reason from identity_sync.run`;
  expect(run).toEqual({ outcome_reason: '1 refused, 0 settled' });
});

test('a run by hand was not planned, and one that is a success has no reason', async () => {
  await writer.repair([singleArtist(DILATE)]);
  const [run] = await writer.sql`
    select outcome_reason, stale_days, unresolved_retry_days, include_null_canonical, partition_index, partition_count,
      strict_bands, batch_size, va_batch_size, scheduled
    from identity_sync.run`;
  expect(run).toEqual({
    ...{ outcome_reason: null, stale_days: 0, unresolved_retry_days: 0, include_null_canonical: false },
    ...{ partition_index: 0, partition_count: 1, strict_bands: false, batch_size: 0, va_batch_size: 0 },
    scheduled: false,
  });
});

test('a replay and a release are runs of their own', async () => {
  await writer.service([invalid]);
  const refused = Number(await lastRun(writer.sql));
  await call(writer.sql, 'replay_quarantined_verdicts', { run_id: refused });
  await call(writer.sql, 'release_identity', { library_id: DILATE, reason: 'the wrong band' });

  expect((await runs()).slice(1)).toEqual([
    { ...over, scope: 'replay', planned: 1, of_run_id: refused, outcome: 'failed' },
    { ...over, scope: 'release', planned: 0, ids: [DILATE] },
  ]);
});

test('a preview that is applied is a run of its own, which names the dry run', async () => {
  const ids = await shelveAll(writer.sql, 'Stereolab');
  const dryRun = await plan(writer.sql, { scope: 'ids', ids, dry_run: true });
  const { batch_id } = await claim(writer.sql, dryRun);
  await settle(writer.sql, batch_id, { body: answerOf([verdict.resolved(ids[0])]) });
  await call(writer.sql, 'apply_identity_preview', { run_id: dryRun });

  expect((await runs())[1]).toEqual({ ...over, scope: 'preview', planned: 1, of_run_id: Number(dryRun) });
});

test("the service's own answers belong to the run that asked, and open no other", async () => {
  const ids = await shelveAll(writer.sql, 'Stereolab');
  const runId = await plan(writer.sql, { scope: 'ids', ids });
  const { batch_id } = await claim(writer.sql, runId);
  await settle(writer.sql, batch_id, { body: answerOf([verdict.resolved(ids[0])]) });

  expect(await lastRun(writer.sql)).toBe(runId);
  const [settlement] = await writer.sql`select run_id, batch_id, is_answer from identity_sync.settlement`;
  expect(settlement).toEqual({ run_id: runId, batch_id, is_answer: true });
});

test('it is counted by the metrics once, and is no success of the service', async () => {
  await writer.repair([singleArtist(DILATE)]);
  const [row] = await call<{ identity_metrics: Fields }>(writer.sql, 'identity_metrics');
  expect(row!.identity_metrics).toMatchObject({
    totals: { rows: { rows_resolved: 1 } },
    last_success_age_seconds: null,
  });
  const [health] = await call<{ identity_health: Fields }>(writer.sql, 'identity_health', {
    process_started_at: '2026-01-01T00:00:00Z',
  });
  expect(health!.identity_health).toMatchObject({ last_success: { ok: false }, lanes: { open_runs: 0 } });
  expect(await call(writer.sql, 'take_unreported_runs')).toEqual([]);
});

test('its number is told in a notice, by which it is undone', async () => {
  const notices: Fields[] = [];
  const sql = postgres(writer.url, { max: 1, onnotice: (notice) => notices.push({ ...notice }) });
  await sql`select identity_sync.apply_identity_verdicts(${JSON.stringify(singleArtist(DILATE))}::text::jsonb)`;
  await sql.end();

  const runId = await lastRun(writer.sql);
  expect(notices).toMatchObject([
    {
      code: 'LS009',
      message: `this is run ${runId} (repair)`,
      hint: expect.stringContaining('undone'),
    },
  ]);
});

test('two repairs that are open at once do not wait for each other', async () => {
  const [one, other] = [await writer.session(), await writer.session()];
  await one.sql`begin`;
  await one.sql`select identity_sync.apply_identity_verdicts(${JSON.stringify(singleArtist(DILATE))}::text::jsonb)`;
  await other.sql`select identity_sync.apply_identity_verdicts(${JSON.stringify(singleArtist(ERASER))}::text::jsonb)`;
  await one.sql`commit`;
  expect(await runs()).toHaveLength(2);
});
