// What a run says of itself: its report, and its line in the view run_progress.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  call,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  verdict,
} from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let ids: [number, number, number, number, number];

beforeEach(async () => {
  database = await cloneDatabase();
  const soundtrack = { artist: 'Soundtracks - S', volumeLetters: 'Z' };
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power', soundtrack);
});
afterEach(() => database.drop());

// Every key of the contract's report, each of them once.
const ZERO = {
  scanned: 0,
  rows_resolved: 0,
  rows_resolved_compilation: 0,
  rows_unresolved: 0,
  rows_skipped: {
    compilation: 0,
    lml_error: 0,
    writer_error: 0,
    lml_cardinality_mismatch: 0,
    lml_untrusted_library_id: 0,
    invalid_verdict: 0,
    manual_precedence: 0,
    stale_verdict: 0,
    library_gone: 0,
    poison_input: 0,
  },
  source_rows_skipped_null_confidence: 0,
  source_rows_skipped_duplicate: 0,
  source_rows_out_of_band: 0,
  identity: { inserted: 0, changed: 0, unchanged: 0 },
  source: { inserted: 0, changed: 0, unchanged: 0, removed: 0 },
  compilation_track: {
    written: 0,
    unlinked: 0,
    unchanged: 0,
    librarian: 0,
    no_cta_match: 0,
    no_resolved_name: 0,
    unusable: 0,
    no_catalog_artist: 0,
    ambiguous_position: 0,
    position_written: 0,
    confidence_out_of_range: 0,
  },
};

describe('the report of a run', () => {
  test('has every key from the first moment on', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    expect(await reportOf(runId)).toMatchObject({
      ...ZERO,
      run_id: Number(runId),
      scope: 'due',
      dry_run: false,
      started_at: expect.any(String),
      finished_at: null,
      outcome: null,
      outcome_reason: null,
      planned: 5,
      left: 5,
      batches: 3,
      failed_batches: 0,
      lml_total_calls: 0,
      lml_total_latency_ms: 0,
      quarantined: 0,
    });
  });

  test('is the sum over its batches, and no other run is counted in it', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    const soundtrack = await claim(database.sql, runId);
    await settle(database.sql, soundtrack.batch_id, {
      body: answerOf([verdict.compilation(ids[4])]),
      latencyMs: 100,
    });
    const first = await claim(database.sql, runId);
    const foreign = verdict.resolved(987654321);
    await settle(database.sql, first.batch_id, {
      body: answerOf([verdict.resolved(ids[0]), verdict.invalid(ids[1]), foreign]),
      latencyMs: 20,
    });
    const growing = await reportOf(runId);
    const second = await claim(database.sql, runId);
    await settle(database.sql, second.batch_id, { status: 404, latencyMs: 3 });
    const other = await plan(database.sql, { scope: 'ids', ids: [ids[2]] });
    const third = await claim(database.sql, other);
    await settle(database.sql, third.batch_id, { body: resolveAll(third.request) });

    expect(growing).toMatchObject({ scanned: 4, left: 2, lml_total_calls: 2, finished_at: null });
    expect(await reportOf(runId)).toMatchObject({
      ...ZERO,
      scanned: 6,
      rows_resolved: 1,
      rows_skipped: {
        ...ZERO.rows_skipped,
        compilation: 1,
        invalid_verdict: 1,
        lml_untrusted_library_id: 1,
        lml_error: 2,
      },
      identity: { ...ZERO.identity, inserted: 1 },
      source: { ...ZERO.source, inserted: 1 },
      run_id: Number(runId),
      scope: 'due',
      dry_run: false,
      started_at: expect.any(String),
      finished_at: expect.any(String),
      outcome: 'failed',
      outcome_reason: '1 of its batches failed: LML answered 404: no words',
      planned: 5,
      left: 2,
      batches: 3,
      failed_batches: 1,
      lml_total_calls: 3,
      lml_total_latency_ms: 123,
      quarantined: 2,
    });
  });

  test('of an open run counts no other run, and says how long it is paused', async () => {
    const other = await plan(database.sql, { scope: 'ids', ids: [ids[2]] });
    const { batch_id, request } = await claim(database.sql, other);
    const foreign = verdict.resolved(987654321);
    await settle(database.sql, batch_id, {
      body: answerOf([...JSON.parse(resolveAll(request)).results, foreign]),
    });
    const runId = await plan(database.sql, { scope: 'ids', ids: [ids[0]] });
    await database.sql`
      update identity_sync.run set paused_until = clock_timestamp() + interval '1 minute' where run_id = ${runId}`;
    const paused = { ...ZERO, paused_until: expect.any(String), left: 1, quarantined: 0 };
    expect(await reportOf(runId)).toMatchObject(paused);

    await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
    expect(await reportOf(runId)).toMatchObject({ paused_until: null });
  });

  test('of a run that is over outlives its batches', async () => {
    const runId = await plan(database.sql, { scope: 'ids', ids: [ids[0], 987654321] });
    const { batch_id } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { status: 404, latencyMs: 7 });
    const report = await reportOf(runId);
    expect(report).toMatchObject({ left: 1, batches: 1, lml_total_calls: 1, warnings: [expect.any(String)] });
    await database.sql`delete from identity_sync.batch`;
    await database.sql`update identity_sync.run set unaskable_ids = '{}'`;
    expect(await reportOf(runId)).toEqual(report);
  });

  test('of a run with nothing to ask says that nothing is left', async () => {
    const runId = await plan(database.sql, { scope: 'ids', ids: [987654321] });
    expect(await reportOf(runId)).toMatchObject({ left: 0, batches: 0, lml_total_latency_ms: 0 });
  });

  test('lists a hundred of the rows that other runs hold, and counts all', async () => {
    const many = await shelveAll(database.sql, ...Array(101).fill('Autechre'));
    await plan(database.sql, { scope: 'ids', ids: many });
    const held = await plan(database.sql, { scope: 'due' });
    const report = (await reportOf(held)) as { held_ids: number[]; held_by_others: number };
    expect([report.held_ids.length, report.held_by_others]).toEqual([100, 101]);
  });

  test('counts a call that was made again as two', async () => {
    const runId = await plan(database.sql, { scope: 'ids', ids: [ids[0]] });
    await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request), latencyMs: 40 });
    expect(await reportOf(runId)).toMatchObject({ scanned: 1, lml_total_calls: 2, lml_total_latency_ms: 40 });
  });

  test('is that of the latest run where none is named, and NULL where there never was one', async () => {
    expect(await reportOf(null)).toBeNull();
    await plan(database.sql);
    const latest = await plan(database.sql, { dry_run: true });
    expect(await reportOf(null)).toMatchObject({ run_id: Number(latest), dry_run: true });
  });

  test('of a run that is not there is an error that names it', async () => {
    const refused = { code: 'LS002', message: 'there is no run 987654321' };
    await expect(reportOf('987654321')).rejects.toMatchObject(refused);
  });
});

describe('run_progress', () => {
  test('has a line a run, the latest first, which says how far it is', async () => {
    const runId = await plan(database.sql, { batch_size: 2, opened_by: 'host:1' });
    const dry = await plan(database.sql, { dry_run: true, scope: 'refresh' });
    const lines = () => database.sql`select * from identity_sync.run_progress`;
    const line = async () => (await lines())[1];

    expect((await lines()).map((row) => row.run_id)).toEqual([dry, runId]);
    expect(Object.keys((await lines())[0]!)[0]).toBe('run_id');
    expect(await line()).toMatchObject({ ...begun, done: '0', batches_in_flight: '0', batches_left: '3' });

    const soundtrack = await claim(database.sql, runId);
    const failed = await claim(database.sql, runId);
    expect(await line()).toMatchObject({ ...begun, done: '0', batches_in_flight: '2', batches_left: '3' });

    await settle(database.sql, failed.batch_id, { status: 404 });
    await settle(database.sql, soundtrack.batch_id, { body: resolveAll(soundtrack.request) });
    const failedOnce = { batches_in_flight: '0', batches_failed: '1', batches_left: '1' };
    expect(await line()).toMatchObject({ ...begun, done: '1', ...failedOnce });

    await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
    expect(await line()).toMatchObject({
      done: '1',
      batches_left: '0',
      finished_at: expect.any(Date),
      outcome: 'failed',
      outcome_reason: 'enough',
    });
  });

  const begun = {
    scope: 'due',
    dry_run: false,
    planned: 5,
    batches: '3',
    opened_by: 'host:1',
    started_at: expect.any(Date),
    finished_at: null,
    outcome: null,
    outcome_reason: null,
  };

  test('stands still once the run is over', async () => {
    const runId = await plan(database.sql, { scope: 'recheck' });
    const took = async () => {
      const [row] = await database.sql`
        select took::text, finished_at - started_at = took as is_span from identity_sync.run_progress
        where run_id = ${runId}`;
      return row;
    };
    expect(await took()).toMatchObject({ is_span: true });
    expect(await took()).toEqual(await took());
  });
});

async function reportOf(runId: string | null) {
  const [row] = await call<{ identity_run_report: object | null }>(database.sql, 'identity_run_report', {
    run_id: runId,
  });
  return row!.identity_run_report;
}
