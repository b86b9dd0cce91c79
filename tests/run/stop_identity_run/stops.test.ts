import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  call,
  candidates,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
} from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { reportOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let ids: [number, number, number, number];

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power');
});
afterEach(() => database.drop());

describe('a run that is stopped', () => {
  test('abandons what no lane has claimed, which stays due, and is over with its last call in flight', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const { batch_id, request } = await claim(database.sql, runId);
    await stop(runId);

    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: null, stop_reason: 'stopped by hand' });
    expect((await tryToClaim(database.sql, runId))?.batch_id ?? null).toBeNull();

    await settle(database.sql, batch_id, { body: resolveAll(request) });
    expect(await reportOf(database.sql, runId)).toMatchObject({
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
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
    expect(await plan(database.sql)).not.toBe(runId);
  });

  test('by a process that did not open it, goes on', async () => {
    const runId = await plan(database.sql, { opened_by: 'host:1' });
    await stop(runId, 'host:2');
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_reason: null, finished_at: null });
    await stop(runId, 'host:1');
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
  });

  test('once it is over, stays as it ended', async () => {
    const runId = await plan(database.sql);
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    await stop(runId);
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed', stop_reason: null });
  });

  test('is over when its last call is cut off and the batch given back', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await stop(runId);
    await call(database.sql, 'return_identity_batch', { batch_id, leased_by: 'lane' });

    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test.each([null, '', ' '])('needs a reason, and goes on without one: %j', async (reason) => {
    const runId = await plan(database.sql);
    await expect(call(database.sql, 'stop_identity_run', { run_id: runId, reason })).rejects.toMatchObject({
      code: 'LS001',
    });
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null, finished_at: null });
  });

  test.each([
    ['deadline', 'stopped', 'its deadline has passed, what is left is due next time'],
    ['budget', 'completed', 'its budget of calls is used up, what is left is due next time'],
  ])(
    'by its %s, is told so in the same words by all that find it',
    async (cause, outcome, outcome_reason) => {
      const runId = await plan(database.sql);
      const [stopped] = await call(database.sql, 'stop_identity_run', { run_id: runId, reason: null, cause });
      expect(stopped).toEqual({ stop_identity_run: true });
      expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: cause, outcome, outcome_reason });
    },
  );

  test('by a person, has a reason', async () => {
    const runId = await plan(database.sql);
    await expect(
      call(database.sql, 'stop_identity_run', { run_id: runId, reason: null }),
    ).rejects.toMatchObject({
      code: 'LS001',
    });
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null, finished_at: null });
  });

  test('keeps the first cause', async () => {
    const runId = await plan(database.sql);
    const { batch_id, request } = await claim(database.sql, runId);
    await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'LML is sick', cause: 'brake' });
    await stop(runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    expect(await runOf(database.sql, runId)).toMatchObject({
      ...{ stop_cause: 'brake', outcome: 'failed', outcome_reason: 'LML is sick' },
    });
  });

  test('asks nothing more where a process died on it: its batch is abandoned when the lease runs out', async () => {
    const runId = await plan(database.sql);
    await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
    await stop(runId);

    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
    expect(await candidates(database.sql)).toEqual(ids);
  });
});

const stop = (runId: string, openedBy: string | null = null) =>
  call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'stopped by hand', opened_by: openedBy });
