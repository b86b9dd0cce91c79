// When a run is over, and which outcome it has.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  call,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  untilDoneOrWaiting,
  untilWaiting,
  verdict,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { reportOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let ids: [number, number, number, number];

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power');
});
afterEach(() => database.drop());

test('a run of which no row could be asked has failed, and says so', async () => {
  const runId = await plan(database.sql, { scope: 'ids', ids: [987_654] });
  expect(await runOf(database.sql, runId)).toMatchObject({
    outcome: 'failed',
    outcome_reason: 'none of the ids named is in library with an artist name',
  });
});

test.each([
  ['hand', 'stopped'],
  ['deadline', 'stopped'],
  ['budget', 'completed'],
  ['key', 'failed'],
  ['brake', 'failed'],
  ['breaker', 'failed'],
])(
  'a run that was told to stop by the %s, and whose answers are all good, is %s',
  async (stop_cause, outcome) => {
    const runId = await plan(database.sql);
    const { batch_id, request } = await claim(database.sql, runId);
    await database.sql`update identity_sync.run set stop_reason = 'why', ${database.sql({ stop_cause })}`;
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome, outcome_reason: 'why' });
  },
);

describe('a run is over', () => {
  test('when its last batch is closed, and not before', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    for (const over of [false, true]) {
      expect(await runOf(database.sql, runId)).toMatchObject({ outcome: null, finished_at: null });
      const { batch_id, request } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { body: resolveAll(request) });
      expect((await runOf(database.sql, runId)).finished_at !== null).toBe(over);
    }
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed', outcome_reason: null });
  });

  test('also where the last two batches are finished at once, each by a session that sees the other open', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    const [one, other] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    const [first, second] = [connect(database.url), connect(database.url)];

    await first`begin`;
    await settle(first, one.batch_id, { body: resolveAll(one.request) });
    const settled = settle(second, other.batch_id, { body: resolveAll(other.request) });
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await settled).toBe('applied');
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed' });
  });

  test('also where it is stopped while its last call is finished', async () => {
    const runId = await plan(database.sql, { batch_size: 2 });
    const last = await claim(database.sql, runId);
    const [first, second] = [connect(database.url), connect(database.url)];

    await first`begin`;
    await call(first, 'stop_identity_run', { run_id: runId, reason: 'stopped by hand' });
    const settled = settle(second, last.batch_id, { body: resolveAll(last.request) });
    await untilDoneOrWaiting(database.sql, settled);
    await first`commit`;

    expect(await settled).toBe('applied');
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
  });
});

type Kind = keyof typeof verdict;

test.each<[Kind[], outcome: string, reason: string | null]>([
  [['resolved', 'unresolved', 'compilation', 'resolved'], 'completed', null],
  [['invalid', 'resolved', 'resolved', 'resolved'], 'completed', null],
  [['invalid', 'invalid', 'resolved', 'unresolved'], 'completed', null],
  [['invalid', 'invalid', 'compilation', 'unresolved'], 'completed', null],
  [['invalid', 'invalid', 'invalid', 'resolved'], 'failed', '3 refused, 1 settled'],
  [['invalid', 'invalid', 'invalid', 'invalid'], 'failed', '4 refused, 0 settled'],
])('verdicts %j: the run has %s', async (kinds, outcome, reason) => {
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  const results = kinds.map((kind, index) => verdict[kind](ids[index]!));
  await settle(database.sql, batch_id, { body: answerOf(results) });

  expect(await runOf(database.sql, runId)).toMatchObject({ outcome, outcome_reason: reason });
});

test('rows that others rule over are not refused: a run of nothing else has completed', async () => {
  const results = JSON.stringify(ids.map((id) => verdict.resolved(id)));
  await database.sql`select from identity_sync.apply_identity_verdicts(${results}::text::jsonb)`;
  const runId = await plan(database.sql, { scope: 'refresh' });
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: answerOf(ids.map((id) => verdict.resolved(id, 55))) });

  expect(await reportOf(database.sql, runId)).toMatchObject({
    rows_skipped: { manual_precedence: 4 },
    outcome: 'completed',
  });
});

test('rows of which a newer identity is there are not refused: a run of nothing else has completed', async () => {
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await call(database.sql, 'apply_identity_response', {
    body: answerOf(ids.map((id) => verdict.resolved(id))),
    requested: ids,
    origin: 'consumer:lml-bulk',
  });
  await database.sql`update wxyc_schema.library_identity set last_verified_at = now() + interval '50 seconds'`;
  await settle(database.sql, batch_id, { body: answerOf(ids.map((id) => verdict.resolved(id, 55))) });

  expect(await reportOf(database.sql, runId)).toMatchObject({
    rows_skipped: { stale_verdict: 4 },
    outcome: 'completed',
    outcome_reason: null,
  });
});

test('a batch that failed fails the run, and the first reason is reported', async () => {
  const runId = await plan(database.sql, { batch_size: 2 });
  const failed = await claim(database.sql, runId);
  await settle(database.sql, failed.batch_id, { status: 404 });
  const fine = await claim(database.sql, runId);
  await settle(database.sql, fine.batch_id, { body: resolveAll(fine.request) });

  expect(await runOf(database.sql, runId)).toMatchObject({
    outcome: 'failed',
    outcome_reason: '1 of its batches failed: LML answered 404: no words',
  });
});
