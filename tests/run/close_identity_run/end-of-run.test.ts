// close_identity_run and stop_identity_run: when a run is over, and how it is said to have gone.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
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
  untilDoneOrWaiting,
  untilWaiting,
  verdict,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let ids: [number, number, number, number];

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power');
});
afterEach(() => database.drop());

describe('a run is over', () => {
  test('when its last batch is closed, and not before', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    for (const over of [false, true]) {
      expect(await runOf(runId)).toMatchObject({ outcome: null, finished_at: null });
      const { batch_id, request } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { body: resolveAll(request) });
      expect((await runOf(runId)).finished_at !== null).toBe(over);
    }
    expect(await runOf(runId)).toMatchObject({ outcome: 'completed', outcome_reason: null });
  });

  test('also where the last two batches are settled at once, each by a session that sees the other open', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    const [one, other] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    const [first, second] = [connect(database.url), connect(database.url)];

    await first`begin`;
    await settle(first, one.batch_id, { body: resolveAll(one.request) });
    const settled = settle(second, other.batch_id, { body: resolveAll(other.request) });
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await settled).toBe('applied');
    expect(await runOf(runId)).toMatchObject({ outcome: 'completed' });
  });

  test('also where it is told to stop while its last call is settled', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    const last = await claim(database.sql, runId);
    const [first, second] = [connect(database.url), connect(database.url)];

    await first`begin`;
    await call(first, 'stop_identity_run', { run_id: runId, reason: 'stopped by hand' });
    const settled = settle(second, last.batch_id, { body: resolveAll(last.request) });
    await untilDoneOrWaiting(database.sql, settled);
    await first`commit`;

    expect(await settled).toBe('applied');
    expect(await runOf(runId)).toMatchObject({ outcome: 'stopped' });
  });
});

type Kind = keyof typeof verdict;

test.each<[Kind[], outcome: string, reason: string | null]>([
  [['resolved', 'unresolved', 'compilation', 'resolved'], 'completed', null],
  [['invalid', 'resolved', 'resolved', 'resolved'], 'completed', null],
  [['invalid', 'invalid', 'resolved', 'unresolved'], 'completed', null],
  [['invalid', 'invalid', 'compilation', 'unresolved'], 'completed', null],
  [['invalid', 'invalid', 'invalid', 'resolved'], 'failed', '3 rows were refused, 1 settled'],
  [['invalid', 'invalid', 'invalid', 'invalid'], 'failed', '4 rows were refused, 0 settled'],
])('verdicts %j: the run has %s', async (kinds, outcome, reason) => {
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  const results = kinds.map((kind, index) => verdict[kind](ids[index]!));
  await settle(database.sql, batch_id, { body: answerOf(results) });

  expect(await runOf(runId)).toMatchObject({ outcome, outcome_reason: reason });
});

test('rows that others rule over are not refused: a run of nothing else has completed', async () => {
  const results = JSON.stringify(ids.map((id) => verdict.resolved(id)));
  await database.sql`select from identity_sync.apply_identity_verdicts(${results}::text::jsonb)`;
  const runId = await plan(database.sql, { scope: 'refresh' });
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: answerOf(ids.map((id) => verdict.resolved(id, 55))) });

  expect(await reportOf(runId)).toMatchObject({
    rows_skipped: { manual_precedence: 4 },
    outcome: 'completed',
  });
});

test('a batch that failed fails the run, and the first reason is told', async () => {
  const runId = await plan(database.sql, { batch_size: 2 });
  const failed = await claim(database.sql, runId);
  await settle(database.sql, failed.batch_id, { status: 404 });
  const fine = await claim(database.sql, runId);
  await settle(database.sql, fine.batch_id, { body: resolveAll(fine.request) });

  expect(await runOf(runId)).toMatchObject({
    outcome: 'failed',
    outcome_reason: '1 of its batches failed: LML answered 404: no words',
  });
});

describe('a run told to stop', () => {
  test('abandons what nobody has claimed, which stays due, and is over with its last call in flight', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const { batch_id, request } = await claim(database.sql, runId);
    await stop(runId);

    expect(await runOf(runId)).toMatchObject({ outcome: null, stop_reason: 'stopped by hand' });
    expect((await tryToClaim(database.sql, runId))?.batch_id).toBeNull();

    await settle(database.sql, batch_id, { body: resolveAll(request) });
    expect(await reportOf(runId)).toMatchObject({
      outcome: 'stopped',
      outcome_reason: 'stopped by hand',
      scanned: 1,
      left: 3,
    });
    expect(await candidates(database.sql)).toEqual(ids.slice(1));
  });

  test('with nothing in flight, is over at once', async () => {
    const runId = await plan(database.sql);
    await stop(runId);
    expect(await runOf(runId)).toMatchObject({ outcome: 'stopped' });
    expect(await plan(database.sql)).not.toBe(runId);
  });

  test('by somebody who did not open it, goes on', async () => {
    const runId = await plan(database.sql, { opened_by: 'host:1' });
    await stop(runId, 'host:2');
    expect(await runOf(runId)).toMatchObject({ stop_reason: null, finished_at: null });
    await stop(runId, 'host:1');
    expect(await runOf(runId)).toMatchObject({ outcome: 'stopped' });
  });

  test('once it is over, stays as it ended', async () => {
    const runId = await plan(database.sql);
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    await stop(runId);
    expect(await runOf(runId)).toMatchObject({ outcome: 'completed', stop_reason: null });
  });

  test('is over when its last call is cut off and the batch given back', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await stop(runId);
    await call(database.sql, 'return_identity_batch', { batch_id, leased_by: 'lane' });

    expect(await runOf(runId)).toMatchObject({ outcome: 'stopped' });
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test('asks nothing more where a process died on it: its batch is abandoned when the lease runs out', async () => {
    const runId = await plan(database.sql);
    await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
    await stop(runId);

    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    expect(await runOf(runId)).toMatchObject({ outcome: 'stopped' });
    expect(await candidates(database.sql)).toEqual(ids);
  });
});

const stop = (runId: string, openedBy: string | null = null) =>
  call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'stopped by hand', opened_by: openedBy });

async function runOf(runId: string) {
  const [run] = await database.sql`select * from identity_sync.run where run_id = ${runId}`;
  return run!;
}

async function reportOf(runId: string) {
  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  return row!.report;
}
