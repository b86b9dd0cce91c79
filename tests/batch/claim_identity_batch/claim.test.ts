import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  call,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
  untilWaiting,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let ids: number[];
let runId: string;

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power');
  runId = await plan(database.sql, { batch_size: 1 });
});
afterEach(() => database.drop());

test('gives the batches of a run in their order, each to one leased_by, with the request to send', async () => {
  for (const id of ids) {
    const claimed = await claim(database.sql, runId, { leased_by: `lane ${id}`, concurrency: 4 });
    expect(JSON.parse(claimed.request).inputs).toMatchObject([{ library_id: id }]);
    expect(await batch(claimed.batch_id)).toMatchObject({ state: 'in_flight', leased_by: `lane ${id}` });
  }
});

test('leases for as long as is asked, and records the call', async () => {
  const { batch_id } = await claim(database.sql, runId, { leased_by: 'host:1:2', lease_ms: 90_000 });

  const [leased] = await database.sql`
    select leased_until - started_at between '89 s' and '91 s' as as_told, call.leased_by, call.inputs, call.answered_at
    from identity_sync.batch join identity_sync.lml_call as call using (batch_id) where batch_id = ${batch_id}`;
  expect(leased).toEqual({ as_told: true, leased_by: 'host:1:2', inputs: 1, answered_at: null });
});

describe('the places in flight', () => {
  test('are as many as allowed, over all runs, real and dry', async () => {
    const other = await plan(database.sql, { batch_size: 1, dry_run: true });
    const held = await claim(database.sql, runId);
    await claim(database.sql, other);

    for (const run of [runId, other]) {
      const refused = await tryToClaim(database.sql, run);
      expect(refused).toMatchObject({ batch_id: null, request: null, wait_ms: expect.any(Number) });
      expect(refused!.wait_ms).toBeGreaterThan(0);
    }
    expect(await inFlight()).toBe(2);

    await settle(database.sql, held.batch_id, { body: resolveAll(held.request) });
    await claim(database.sql, other);
    expect(await inFlight()).toBe(2);
  });

  test('are given to one of two sessions that reach for the last one at once', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    const taken = await claim(first, runId, { leased_by: 'first', concurrency: 1 });
    const reached = tryToClaim(second, runId, { leased_by: 'second', concurrency: 1 });
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await reached).toMatchObject({ batch_id: null });
    expect(await batch(taken.batch_id)).toMatchObject({ leased_by: 'first' });
  });

  test('go to another batch where two sessions reach for two of them at once', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    const taken = await claim(first, runId, { leased_by: 'first' });
    const reached = claim(second, runId, { leased_by: 'second' });
    await untilWaiting(database.sql);
    await first`commit`;

    expect((await reached).batch_id).not.toBe(taken.batch_id);
    expect(await inFlight()).toBe(2);
  });

  test('end with a run that is stopped at the very moment of a claim', async () => {
    const [stopping, claiming] = [connect(database.url), connect(database.url)];
    await stopping`begin`;
    await call(stopping, 'stop_identity_run', { run_id: runId, reason: 'by hand' });
    expect(await tryToClaim(claiming, runId)).toMatchObject({ batch_id: null, wait_ms: 500 });
    await stopping`commit`;

    expect(await tryToClaim(claiming, runId)).toBeUndefined();
    expect(await inFlight()).toBe(0);
  });

  test('are free again where the session that took one is rolled back', async () => {
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    const taken = await claim(first, runId, { leased_by: 'first', concurrency: 1 });
    const reached = claim(second, runId, { leased_by: 'second', concurrency: 1 });
    await untilWaiting(database.sql);
    await first`rollback`;

    expect((await reached).batch_id).toBe(taken.batch_id);
  });
});

describe('a lane whose answer has come', () => {
  test('gives up its place with its next claim, while the answer is still being written', async () => {
    const first = await claim(database.sql, runId, { concurrency: 1 });
    const second = await claim(database.sql, runId, { concurrency: 1, answered: first.batch_id });

    expect(second.batch_id).not.toBe(first.batch_id);
    expect(await batch(first.batch_id)).toMatchObject({ state: 'answered', leased_by: 'lane' });
    expect(await settle(database.sql, first.batch_id, { body: resolveAll(first.request) })).toBe('applied');
  });

  test('keeps it where there is nothing of its own to give up', async () => {
    const held = await claim(database.sql, runId, { leased_by: 'another lane', concurrency: 1 });
    const reached = await tryToClaim(database.sql, runId, { concurrency: 1, answered: held.batch_id });

    expect(reached).toMatchObject({ batch_id: null });
    expect(await batch(held.batch_id)).toMatchObject({ state: 'in_flight', leased_by: 'another lane' });
  });
});

describe('a lease that has run out', () => {
  test.each(['in_flight', 'answered'])('gives the batch, %s, to the lane that claims next', async (state) => {
    const lost = await claim(database.sql, runId, { leased_by: 'dead' });
    if (state === 'answered') {
      await claim(database.sql, runId, { leased_by: 'dead', answered: lost.batch_id });
    }
    expect(await batch(lost.batch_id)).toMatchObject({ state, leased_by: 'dead' });
    await database.sql`
      update identity_sync.batch set leased_until = clock_timestamp() where batch_id = ${lost.batch_id}`;

    const found = await claim(database.sql, runId, { leased_by: 'alive' });
    expect(found.batch_id).toBe(lost.batch_id);
    expect(await batch(lost.batch_id)).toMatchObject({ state: 'in_flight', leased_by: 'alive' });
  });

  test('of another run frees its place as well', async () => {
    await claim(database.sql, runId, { lease_ms: 0 });
    const other = await plan(database.sql, { scope: 'refresh', dry_run: true });
    expect((await claim(database.sql, other, { concurrency: 1 })).batch_id).toBeTruthy();
  });

  test('is not broken before its time', async () => {
    await claim(database.sql, runId, { leased_by: 'alive', lease_ms: 5_000, concurrency: 1 });
    expect(await tryToClaim(database.sql, runId, { concurrency: 1 })).toMatchObject({ batch_id: null });
  });

  test('makes the late answer of its leased_by a lost one, which writes nothing', async () => {
    const lost = await claim(database.sql, runId, { leased_by: 'late', lease_ms: 0 });
    await claim(database.sql, runId, { leased_by: 'alive' });
    const before = await everything();

    for (const came of [
      { body: resolveAll(lost.request) },
      { status: 401 },
      { status: null, failure: 'cut off' },
    ]) {
      expect(await settle(database.sql, lost.batch_id, { leased_by: 'late', ...came })).toBe('lost');
    }
    await call(database.sql, 'return_identity_batch', { batch_id: lost.batch_id, leased_by: 'late' });
    expect(await everything()).toEqual(before);

    const settled = await settle(database.sql, lost.batch_id, {
      leased_by: 'alive',
      body: resolveAll(lost.request),
    });
    expect(settled).toBe('applied');
  });

  test('is renewed by its leased_by alone', async () => {
    const lost = await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
    const found = await claim(database.sql, runId, { leased_by: 'alive', answered: lost.batch_id });
    expect(found.batch_id).toBe(lost.batch_id);
  });
});

describe('a run that is stopping', () => {
  test('gives no batch, be it one whose call failed at the very moment of the stop', async () => {
    const failing = await claim(database.sql, runId, { leased_by: 'failing' });
    const refused = await claim(database.sql, runId, { leased_by: 'refused' });
    const [stopping, finishing] = [connect(database.url), connect(database.url)];
    await stopping`begin`;
    await settle(stopping, refused.batch_id, { leased_by: 'refused', status: 401 });
    const finished = settle(finishing, failing.batch_id, { leased_by: 'failing', status: 503, maxTries: 3 });
    await untilWaiting(database.sql);
    await stopping`commit`;

    expect(await finished).toBe('retried');
    await database.sql`update identity_sync.batch set not_before = null`;
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    const [run] = await database.sql`select outcome, stop_cause from identity_sync.run`;
    expect(run).toEqual({ outcome: 'failed', stop_cause: 'key' });
    expect(await database.sql`select from identity_sync.lml_call`).toHaveLength(2);
  });
});

describe('with no batch to give', () => {
  test('a run that others carry to its end asks for patience', async () => {
    for (const _ of ids) await claim(database.sql, runId, { concurrency: 4 });
    const reached = await tryToClaim(database.sql, runId, { concurrency: 9 });
    expect(reached).toMatchObject({ batch_id: null, request: null, wait_ms: expect.any(Number) });
    expect(reached!.wait_ms).toBeGreaterThan(0);
  });

  test.each([
    [
      'its pause is over',
      `update identity_sync.run set paused_until = clock_timestamp() + interval '1 hour'`,
    ],
    [
      'its first batch is due',
      `update identity_sync.batch set not_before = clock_timestamp() + interval '1 hour'`,
    ],
  ])('a run that waits for longer than a second makes room, and goes on when %s', async (_, postpone) => {
    await database.sql`select graphile_worker.complete_jobs(array_agg(id)) from graphile_worker.jobs`;
    await database.sql.unsafe(postpone);

    expect(await tryToClaim(database.sql, runId)).toBeUndefined();

    const jobs = await database.sql`
      select run_at > now() + interval '59 minutes' as is_late from graphile_worker.jobs
      where task_identifier = 'carry_identity_run'`;
    expect([...jobs]).toEqual([{ is_late: true }, { is_late: true }]);
  });

  test('a run whose batches a lane has keeps its other lanes, also through a pause', async () => {
    await claim(database.sql, runId);
    await database.sql`update identity_sync.run set paused_until = clock_timestamp() + interval '1 hour'`;
    expect(await tryToClaim(database.sql, runId)).toMatchObject({ batch_id: null, wait_ms: 500 });
  });

  test('a run that is over, or was never there, says so', async () => {
    await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    expect(await tryToClaim(database.sql, '987654321')).toBeUndefined();
  });
});

describe('a batch whose records are all gone', () => {
  test('is closed without a call, and the next one given', async () => {
    await database.sql`delete from wxyc_schema.library where id = ${ids[0]!}`;
    const claimed = await claim(database.sql, runId);

    expect(JSON.parse(claimed.request).inputs).toMatchObject([{ library_id: ids[1] }]);
    const [report] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
    expect(report!.report).toMatchObject({
      scanned: 1,
      rows_skipped: { library_gone: 1 },
      lml_total_calls: 1,
    });
  });

  test('ends the run where it was the last', async () => {
    await database.sql`delete from wxyc_schema.library`;
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();

    const [run] = await database.sql`select * from identity_sync.run_progress`;
    expect(run).toMatchObject({ outcome: 'completed', done: '4', batches_left: '0' });
    expect(await database.sql`select from identity_sync.lml_call`).toHaveLength(0);
  });
});

async function batch(batchId: string) {
  const [row] =
    await database.sql`select state, leased_by from identity_sync.batch where batch_id = ${batchId}`;
  return row;
}

async function inFlight(): Promise<number> {
  const batches = await database.sql`select from identity_sync.batch where state = 'in_flight'`;
  return batches.length;
}

/** All that a settlement could write to. */
async function everything() {
  const tables = ['run', 'batch', 'lml_call', 'settlement', 'attempt', 'quarantined_verdict'];
  const names = [
    ...tables.map((table) => `identity_sync.${table}`),
    'wxyc_schema.library_identity',
    'wxyc_schema.library_identity_source',
  ];
  return await Promise.all(names.map((name) => database.sql`select * from ${database.sql(name)} order by 1`));
}
