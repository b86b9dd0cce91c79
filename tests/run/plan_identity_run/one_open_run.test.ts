import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  call,
  claim,
  plan,
  resolveAll,
  settle,
  shelve,
  shelveAll,
  untilWaiting,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let autechre: number;
let stereolab: number;
let sessa: number;

beforeEach(async () => {
  database = await cloneDatabase();
  [autechre, stereolab, sessa] = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
});
afterEach(() => database.drop());

describe('the same run', () => {
  test.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['the same parameters', {}, {}],
    ['other days and sizes', {}, { stale_days: 1, unresolved_retry_days: 1, batch_size: 1, lanes: 1 }],
    ['a partition', { partition_index: 0, partition_count: 2 }, { partition_index: 0, partition_count: 2 }],
    ['dry', { dry_run: true }, { dry_run: true }],
  ])('is joined while it is open: %s', async (_, opened, again) => {
    const runId = await plan(database.sql, opened);
    expect(await plan(database.sql, again)).toBe(runId);
    expect(await runs()).toEqual([runId]);
  });

  test('of ids is one of the same ids, in any order', async () => {
    const runId = await plan(database.sql, { scope: 'ids', ids: [autechre, stereolab] });
    const again = { scope: 'ids', ids: [stereolab, autechre, null, stereolab] };
    expect(await plan(database.sql, again)).toBe(runId);
    expect(await plan(database.sql, { scope: 'ids', ids: [autechre, stereolab, sessa] })).not.toBe(runId);
  });

  test('once it is over, is another run', async () => {
    const runId = await plan(database.sql);
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    expect(await plan(database.sql)).not.toBe(runId);
  });
});

describe('a run whose process has died', () => {
  /** The run's process died with one call in flight, and a day has passed. */
  async function dead(parameters: Record<string, unknown> = {}) {
    const runId = await plan(database.sql, { batch_size: 1, ...parameters });
    await claim(database.sql, runId, { leased_by: 'dead' });
    await database.sql`
      update identity_sync.run set started_at = started_at - interval '1 day', deadline_at = deadline_at - interval '1 day'`;
    await database.sql`update identity_sync.batch set leased_until = leased_until - interval '1 day'`;
    return runId;
  }

  test.each<[string, (ids: number[]) => Record<string, unknown>]>([
    ['the same run', () => ({})],
    ['one of ids', (ids) => ({ scope: 'ids', ids })],
    ['one of another scope', () => ({ scope: 'refresh' })],
  ])('holds nothing once its deadline has passed, and is joined by none: %s', async (_, parameters) => {
    const corpse = await dead();
    const runId = await plan(database.sql, parameters([autechre, stereolab, sessa]));
    expect(runId).not.toBe(corpse);
    expect(await heldBy(runId)).toEqual([autechre, stereolab, sessa]);
    const [run] = await database.sql`
      select outcome, stop_cause from identity_sync.run where run_id = ${corpse}`;
    expect(run).toEqual({ outcome: 'stopped', stop_cause: 'deadline' });
  });

  test('before its deadline holds its rows: a run of which it holds each is no success, and says so', async () => {
    const corpse = await plan(database.sql);
    const runId = await plan(database.sql, { scope: 'ids', ids: [autechre, stereolab] });
    const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
    expect(row!.report).toMatchObject({
      ...{ planned: 0, held_by_others: 2, held_ids: [autechre, stereolab], held_by_runs: [Number(corpse)] },
      outcome: 'failed',
      outcome_reason: `all of its rows are held by another open run: ${corpse}`,
    });
  });
});

test('a run that is stopping is joined by none, and holds only what is in flight', async () => {
  const stopping = await plan(database.sql, { batch_size: 1 });
  const { batch_id, request } = await claim(database.sql, stopping);
  await call(database.sql, 'stop_identity_run', { run_id: stopping, reason: 'by hand' });

  const runId = await plan(database.sql);
  expect(runId).not.toBe(stopping);
  expect(await heldBy(runId)).toEqual([stereolab, sessa]);
  expect(await settle(database.sql, batch_id, { body: resolveAll(request) })).toBe('applied');
});

test('planning waits for no answer that is being written', async () => {
  const overdue = await plan(database.sql, { batch_size: 1 });
  const { batch_id } = await claim(database.sql, overdue, { lease_ms: 0 });
  await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
  const settling = connect(database.url);
  await settling`begin`;
  await settling`select from identity_sync.batch where batch_id = ${batch_id} for update`;

  expect(await heldBy(await plan(database.sql))).toEqual([stereolab, sessa]);
  await settling`rollback`;
});

describe('another run', () => {
  test.each<[string, Record<string, unknown>]>([
    ['of another scope', { scope: 'refresh' }],
    ['of another partition', { partition_index: 0, partition_count: 2 }],
    ['of ids within the scope', { ids: [-1] }],
    ['a dry one', { dry_run: true }],
  ])('is opened beside it: %s', async (_, parameters) => {
    const runId = await plan(database.sql);
    expect(await plan(database.sql, parameters)).not.toBe(runId);
  });

  test('leaves the libraries in a batch of a real run to it, until that one has closed their batch', async () => {
    const first = await plan(database.sql, { scope: 'ids', ids: [autechre, stereolab] });
    const second = await plan(database.sql, { scope: 'refresh' });
    expect(await heldBy(second)).toEqual([sessa]);

    const { batch_id, request } = await claim(database.sql, first);
    const meanwhile = await plan(database.sql, { scope: 'ids', ids: [autechre, sessa] });
    expect(await heldBy(meanwhile)).toEqual([]);

    await settle(database.sql, batch_id, { body: resolveAll(request) });
    const third = await plan(database.sql, { scope: 'ids', ids: [autechre] });
    expect(await heldBy(third)).toEqual([autechre]);
  });

  test('that is dry neither leaves libraries to a real one nor keeps them from one', async () => {
    const real = await plan(database.sql, { scope: 'ids', ids: [autechre] });
    const dry = await plan(database.sql, { dry_run: true });
    expect(await heldBy(dry)).toEqual([autechre, stereolab, sessa]);

    const second = await plan(database.sql, { scope: 'refresh' });
    expect(await heldBy(second)).toEqual([stereolab, sessa]);
    expect(await runs()).toEqual([real, dry, second]);
  });

  test('of dry runs sees the same libraries as the first', async () => {
    await plan(database.sql, { dry_run: true });
    const second = await plan(database.sql, { dry_run: true, scope: 'refresh' });
    expect(await heldBy(second)).toEqual([autechre, stereolab, sessa]);
  });
});

describe('two planners at once', () => {
  test('open one run: the second waits for the first and joins it', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    const opened = await plan(first);
    const joined = plan(second);
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await joined).toBe(opened);
    expect(await runs()).toEqual([opened]);
  });

  test('open one run also where the first takes it back', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    await plan(first);
    const planned = plan(second);
    await untilWaiting(database.sql);
    await first`rollback`;

    const opened = await planned;
    expect(await runs()).toEqual([opened]);
    expect(await heldBy(opened)).toEqual([autechre, stereolab, sessa]);
  });

  test('of different runs never hold the same library', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    const opened = await plan(first, { scope: 'ids', ids: [stereolab] });
    const planned = plan(second);
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await heldBy(opened)).toEqual([stereolab]);
    expect(await heldBy(await planned)).toEqual([autechre, sessa]);
  });
});

test('a record that was shelved after a run was planned waits for the next one', async () => {
  const runId = await plan(database.sql);
  await shelve(database.sql, 'Never Asked');
  expect(await plan(database.sql)).toBe(runId);
  expect(await heldBy(runId)).toEqual([autechre, stereolab, sessa]);
});

async function runs(): Promise<string[]> {
  const rows = await database.sql<{ run_id: string }[]>`select run_id from identity_sync.run order by run_id`;
  return rows.map((row) => row.run_id);
}

async function heldBy(runId: string): Promise<number[]> {
  const rows = await database.sql<{ id: number }[]>`
    select unnest(library_ids) as id from identity_sync.batch where run_id = ${runId} order by id`;
  return rows.map((row) => row.id);
}
