// One session that holds rows open delays those rows alone: the answer is kept, and LML is not asked again.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
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
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { batchOf, reportOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let ids: number[];
let runId: string;
let operator: ReturnType<typeof connect>;
let held: Awaited<ReturnType<typeof claim>>;

// An operator leaves a transaction open that wrote the first record, while LML answers for it.
beforeEach(async () => {
  database = await cloneDatabase();
  await loseItsPatience(database.sql);
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  runId = await plan(database.sql, { batch_size: 1 });
  held = await claim(database.sql, runId, { leased_by: 'lane' });
  operator = connect(database.url);
  await operator`begin`;
  await repair(operator, ids[0]!);
});
afterEach(() => database.drop());

const repair = (sql: ReturnType<typeof connect>, id: number) =>
  sql`select identity_sync.apply_identity_verdicts(${sql.json([verdict.resolved(id)] as never)})`;

const handOver = (sql: ReturnType<typeof connect>, leased_by = 'lane') =>
  settle(sql, held.batch_id, { body: resolveAll(held.request), leased_by });

/** Makes the writer wait for a moment, and not for seconds, where rows are held. */
const loseItsPatience = (sql: ReturnType<typeof connect>) => setPatience(sql, '100ms');
const findItsPatience = (sql: ReturnType<typeof connect>) => setPatience(sql, '1min');
const setPatience = (sql: ReturnType<typeof connect>, patience: string) =>
  sql.unsafe(`
    alter function identity_sync.apply_identity_verdicts set lock_timeout = '${patience}';
    alter function identity_sync.finish_identity_call set lock_timeout = '${patience}';`);

/** Lets the pause of a kept answer be over. */
const itsTimeHasCome = () => database.sql`update identity_sync.batch set not_before = clock_timestamp()`;

describe('while its lane waits for the rows', () => {
  // Other lanes are to come and go in the meantime.
  beforeEach(() => findItsPatience(database.sql));

  test('every other lane claims, and settles its batch', async () => {
    const settling = handOver(connect(database.url));
    await untilWaiting(database.sql);

    const other = await claim(database.sql, runId, { leased_by: 'other' });
    expect(JSON.parse(other.request).inputs).toMatchObject([{ library_id: ids[1] }]);
    expect(
      await settle(database.sql, other.batch_id, { leased_by: 'other', body: resolveAll(other.request) }),
    ).toBe('applied');
    await untilWaiting(database.sql);
    await operator`commit`;
    expect(await settling).toBe('applied');
  });

  test('an operator who commits lets it write at once', async () => {
    const settling = handOver(connect(database.url));
    await untilWaiting(database.sql);
    await operator`commit`;
    expect(await settling).toBe('applied');
    expect(await reportOf(database.sql, runId)).toMatchObject({ rows_skipped: { manual_precedence: 1 } });
  });
});

describe('an answer whose rows stay held', () => {
  beforeEach(async () => {
    expect(await handOver(database.sql)).toBe('kept');
  });

  test('lies in its batch, without a lease, a try or a place in flight, and is not due for another lane yet', async () => {
    expect(await batchOf(database.sql, held.batch_id)).toMatchObject({
      state: 'answered',
      leased_by: null,
      tries: 0,
      deferrals: 0,
      answer: resolveAll(held.request),
      answered_at: expect.any(Date),
      not_before: expect.any(Date),
      closed_at: null,
    });
    const [first, second] = [
      await claim(database.sql, runId, { leased_by: 'one', concurrency: 2 }),
      await claim(database.sql, runId, { leased_by: 'two', concurrency: 2 }),
    ];
    expect([first, second].map(({ request }) => JSON.parse(request).inputs[0].library_id)).toEqual(
      ids.slice(1),
    );
  });

  test('is tried again without waiting, and kept as long as they are held', async () => {
    await itsTimeHasCome();
    const taken = await tryToClaim(database.sql, runId, { leased_by: 'another' });
    expect(taken).toMatchObject({ batch_id: held.batch_id, request: null, inputs: 1, wait_ms: null });
    const { answered_at } = await batchOf(database.sql, held.batch_id);

    expect(await settle(database.sql, held.batch_id, { leased_by: 'another' })).toBe('kept');
    expect(await batchOf(database.sql, held.batch_id)).toMatchObject({ state: 'answered', answered_at });
  });

  test('is written by whichever lane comes, once they are free, as old as it is', async () => {
    await operator`rollback`;
    await itsTimeHasCome();
    const { answered_at } = await batchOf(database.sql, held.batch_id);
    await tryToClaim(database.sql, runId, { leased_by: 'another' });

    expect(await settle(database.sql, held.batch_id, { leased_by: 'another' })).toBe('applied');

    expect(await batchOf(database.sql, held.batch_id)).toMatchObject({
      state: 'applied',
      answer: null,
      answered_at,
    });
    const [identity] = await database.sql`
      select last_verified_at from wxyc_schema.library_identity where library_id = ${ids[0]!}`;
    expect(identity!.last_verified_at).toEqual(answered_at);
    expect(await reportOf(database.sql, runId)).toMatchObject({ rows_resolved: 1, lml_total_calls: 1 });
  });

  test('is written though its run was told to stop, which ends the run', async () => {
    await database.sql`select identity_sync.stop_identity_run(${runId}, 'by hand')`;
    expect(await runOf(database.sql, runId)).toMatchObject({ finished_at: null });
    expect(await candidates(database.sql)).toEqual(ids);

    await operator`rollback`;
    await itsTimeHasCome();
    expect(await tryToClaim(database.sql, runId)).toMatchObject({ batch_id: held.batch_id, request: null });
    expect(await settle(database.sql, held.batch_id, {})).toBe('applied');
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
    expect(await candidates(database.sql)).toEqual(ids.slice(1));
  });

  test('outlives the lane that took it and died', async () => {
    await operator`rollback`;
    await itsTimeHasCome();
    await tryToClaim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
    await tryToClaim(database.sql, runId, { leased_by: 'alive' });

    expect(await batchOf(database.sql, held.batch_id)).toMatchObject({
      state: 'answered',
      leased_by: 'alive',
      answer: resolveAll(held.request),
    });
    expect(await settle(database.sql, held.batch_id, { leased_by: 'alive' })).toBe('applied');
  });

  test('has lanes that come back for it, where nothing else is left of its run', async () => {
    for (const leased_by of ['one', 'two']) {
      const { batch_id, request } = await claim(database.sql, runId, { leased_by });
      await settle(database.sql, batch_id, { leased_by, body: resolveAll(request) });
    }
    await database.sql`select graphile_worker.complete_jobs(array(select id from graphile_worker.jobs))`;

    expect(await tryToClaim(database.sql, runId)).toBeUndefined();

    const [job] = await database.sql`
      select jobs.run_at = batch.not_before as when_it_is_due
      from graphile_worker.jobs cross join identity_sync.batch where batch.closed_at is null`;
    expect(job).toEqual({ when_it_is_due: true });
  });
});

test('rows that another program holds, and not the writer, delay their answer in the same way', async () => {
  await operator`rollback`;
  await database.sql`
    select identity_sync.apply_identity_response(
      ${resolveAll(held.request)}, ${[ids[0]!]}, 'consumer:lml-bulk', clock_timestamp() - interval '8 days')`;
  await operator`begin`;
  await operator`update wxyc_schema.library_identity set discogs_master_id = 1`;

  expect(await handOver(database.sql)).toBe('kept');
  await operator`commit`;
  await itsTimeHasCome();
  await tryToClaim(database.sql, runId);
  expect(await settle(database.sql, held.batch_id, {})).toBe('applied');
});

test('the answer of a dry run is kept and rehearsed later as well', async () => {
  await operator`rollback`;
  const dry = await plan(database.sql, { dry_run: true });
  const { batch_id, request } = await claim(database.sql, dry);
  await operator`begin`;
  await repair(operator, ids[0]!);

  expect(await settle(database.sql, batch_id, { body: resolveAll(request) })).toBe('kept');
  await operator`rollback`;
  await itsTimeHasCome();
  await tryToClaim(database.sql, dry);
  expect(await settle(database.sql, batch_id, {})).toBe('applied');
  expect(await batchOf(database.sql, batch_id)).toMatchObject({ answer: resolveAll(request) });
  expect(await reportOf(database.sql, dry)).toMatchObject({ rows_resolved: 3 });
});

test('what is given up in the end keeps no answer', async () => {
  expect(await handOver(database.sql)).toBe('kept');
  await database.sql`select identity_sync.fail_identity_batch(${held.batch_id}, 'enough', 'writer_error')`;
  expect(await batchOf(database.sql, held.batch_id)).toMatchObject({ state: 'failed', answer: null });
});

test('a poison input of which the library is held by another session is handed over again', async () => {
  const failing = settle(database.sql, held.batch_id, { status: 422, body: answerOf([]) });
  await expect(failing).rejects.toMatchObject({ code: '55P03' });
  await operator`commit`;
  expect(await settle(database.sql, held.batch_id, { status: 422, body: answerOf([]) })).toBe('poison_input');
});

test('it is due again in four seconds or so', async () => {
  const other = await claim(database.sql, runId, { leased_by: 'other' });
  await database.sql`select identity_sync_private.keep_identity_answer(${other.batch_id}, '[]', clock_timestamp())`;
  const [batch] = await database.sql`
    select extract(epoch from not_before - answered_at)::float8 as seconds
    from identity_sync.batch where batch_id = ${other.batch_id}`;
  expect(batch!.seconds).toBeGreaterThanOrEqual(3);
  expect(batch!.seconds).toBeLessThan(6);
});
