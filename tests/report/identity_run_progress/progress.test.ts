import { expect, test } from 'vitest';
import { call, claim, plan, resolveAll, settle, shelveAll, tryToClaim } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();

const progressOf = (runId: string) => call(database.sql, 'identity_run_progress', { run_id: runId });

test('a row is done when it was answered, named as poison or no longer there; a cut or a failure alone is not', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power', 'Juana Molina');
  const runId = await plan(database.sql, { batch_size: 2 });
  const { trace_id } = await runOf(database.sql, runId);
  const done = async () => {
    const [progress] = await progressOf(runId);
    const { done, failed, ...rest } = progress as { done: number; failed: number };
    expect(rest).toMatchObject({ planned: 5, trace_id });
    return [done, failed];
  };

  const [cut, failed] = [await claim(database.sql, runId), await claim(database.sql, runId)];
  expect(await done()).toEqual([0, 0]);
  await settle(database.sql, cut.batch_id, { status: 422 });
  expect(await done()).toEqual([0, 0]);
  await settle(database.sql, failed.batch_id, { status: 404 });
  expect(await done()).toEqual([0, 2]);

  await database.sql`delete from wxyc_schema.library where id = ${ids[4]}`;
  const poisoned = await claim(database.sql, runId);
  expect(await done()).toEqual([1, 2]);
  await settle(database.sql, poisoned.batch_id, { status: 422 });
  expect(await done()).toEqual([2, 2]);
  const answered = await claim(database.sql, runId);
  await settle(database.sql, answered.batch_id, { body: resolveAll(answered.request) });

  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await progressOf(runId)).toEqual([
    {
      ...{ planned: 5, done: 3, failed: 2, finished_at: expect.any(Date), trace_id },
      ...{ waits_for: null, waits_until: null },
    },
  ]);
});

test('what a run waits for is named: a call elsewhere, another try, quiet that LML asked for, a pause', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab');
  const runId = await plan(database.sql, { scope: 'ids', ids, batch_size: 1 });
  const waits = async (carried_by: string | null) => {
    const [progress] = await call(database.sql, 'identity_run_progress', { run_id: runId, carried_by });
    const { waits_for, waits_until } = progress as { waits_for: string | null; waits_until: Date | null };
    expect(waits_until === null).toBe(waits_for === null);
    if (waits_until !== null) expect(waits_until.getTime()).toBeGreaterThan(Date.now() - 1000);
    waitsUntil = waits_until ?? waitsUntil;
    return waits_for;
  };
  let waitsUntil = new Date();

  expect(await waits('here:1')).toBeNull();
  const mine = await claim(database.sql, runId, { leased_by: 'here:1:5' });
  expect([await waits('here:1'), await waits('station-2:88')]).toEqual([null, null]);
  const theirs = await claim(database.sql, runId, { leased_by: 'station-2:88:7' });
  expect(await waits('here:1')).toBeNull();

  await settle(database.sql, mine.batch_id, { leased_by: 'here:1:5', body: resolveAll(mine.request) });
  expect(await waits('here:1')).toBe('a call of station-2:88 and its lease');
  expect(await waits('here:11')).toBe('a call of station-2:88 and its lease');
  expect([await waits('station-2:88'), await waits(null)]).toEqual([null, null]);

  await database.sql`
    select identity_sync_private.retry_identity_batch(${theirs.batch_id}, clock_timestamp() + interval '1 minute')`;
  expect(await waits('here:1')).toBe('another try of what failed');
  await database.sql`update identity_sync.run set paused_until = clock_timestamp() + interval '9 minutes'`;
  expect(await waits('here:1')).toBe('LML asked for quiet');
  expect(waitsUntil.getTime()).toBeGreaterThan(Date.now() + 8 * 60_000);
  await database.sql`update identity_sync.run set pauses = 1 where finished_at is null`;
  expect(await waits('here:1')).toBe('a pause, since batch after batch failed');
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
  expect(await waits('here:1')).toBeNull();
});

test('of several waits the one that ends first is named', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab');
  const runId = await plan(database.sql, { scope: 'ids', ids, batch_size: 1 });
  const mine = await claim(database.sql, runId, { leased_by: 'here:1:5' });
  const theirs = await claim(database.sql, runId, { leased_by: 'station-2:88:7' });
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() + interval '9 minutes'
    where batch_id = ${theirs.batch_id}`;
  await database.sql`
    select identity_sync_private.retry_identity_batch(${mine.batch_id}, clock_timestamp() + interval '1 minute')`;
  const [progress] = await call(database.sql, 'identity_run_progress', {
    run_id: runId,
    carried_by: 'here:1',
  });
  expect(progress).toMatchObject({ waits_for: 'another try of what failed' });
});

test('an unknown run has none', async () => {
  expect(await progressOf('987654321')).toEqual([]);
});
