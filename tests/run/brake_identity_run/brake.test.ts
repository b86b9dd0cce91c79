// What no healthy run shows stops it, whatever the batch size, and the marks of the rows counted are as they were.
import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  candidates,
  claim,
  plan,
  settle,
  tryToClaim,
  untilWaiting,
  verdict,
} from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';
import { marked, shelveMany } from '../../support/faults.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();
let ids: number[];

beforeEach(async () => {
  await database.sql`
    truncate wxyc_schema.library, identity_sync.run, identity_sync.attempt, identity_sync.planning_hold,
      identity_sync.settlement, identity_sync.quarantined_verdict cascade`;
  ids = await shelveMany(database.sql, 400);
});

/** The next batch comes back, of each of its rows the first so many resolved. */
async function next(runId: string, resolved = 0, lane = 'lane'): Promise<void> {
  const { batch_id, request } = await claim(database.sql, runId, { leased_by: lane });
  await answer(batch_id, request, resolved, lane);
}

async function answer(
  batchId: string,
  request: string,
  resolved = 0,
  lane = 'lane',
  sql: postgres.ISql = database.sql,
): Promise<void> {
  const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
  const results = inputs.map(({ library_id: id }, index) =>
    index < resolved ? verdict.resolved(id) : verdict.unresolved(id),
  );
  await settle(sql, batchId, { body: answerOf(results), leased_by: lane });
}

test('stops a run at the third batch of which 95 % are unresolved, and holds planning', async () => {
  const runId = await plan(database.sql, { batch_size: 100 });
  await next(runId, 5);
  await next(runId, 5);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });
  const { batch_id, request } = await claim(database.sql, runId);
  const inFlight = await claim(database.sql, runId, { leased_by: 'other' });
  await answer(batch_id, request, 5);

  expect(await runOf(database.sql, runId)).toMatchObject({
    stop_cause: 'brake',
    stop_reason: expect.stringMatching(
      /^95 % of the last 300 rows came back unresolved: .* undo --run \d+\. .*--accept unresolved$/,
    ),
    braked_at: expect.any(Date),
    braked_by: 'unresolved',
  });
  // What was in flight is taken back as well.
  await answer(inFlight.batch_id, inFlight.request, 0, 'other');
  expect(await marked(database.sql, 'unresolved')).toEqual([]);
  expect(await candidates(database.sql)).toHaveLength(385);
  expect(await database.sql`select from identity_sync.planning_hold where name = 'brake'`).toHaveLength(1);
});

test('takes back the answer that is written at the moment at which another one stops the run', async () => {
  const { sql, url } = database;
  const [one, other] = [connect(url), connect(url)];
  const runId = await plan(sql, { batch_size: 100 });
  await next(runId);
  await next(runId);
  const [last, beside] = [await claim(sql, runId), await claim(sql, runId, { leased_by: 'other' })];
  const braking = await one.reserve();
  await braking`begin`;
  await answer(last.batch_id, last.request, 0, 'lane', braking);
  // By itself it would not: a third of it is resolved.
  const writing = answer(beside.batch_id, beside.request, 33, 'other', other);
  await untilWaiting(sql);
  await braking`commit`;
  await writing;
  braking.release();
  await Promise.all([one.end(), other.end()]);

  expect(await runOf(sql, runId)).toMatchObject({ braked_by: 'unresolved', outcome: 'failed' });
  expect(await marked(sql, 'unresolved')).toEqual([]);
});

test.each([
  ['5', 5, 40],
  ['66', 66, 4],
  ['100', 100, 3],
])('measures rows: batches of %s stop at the first 200', async (_, batchSize, batches) => {
  const runId = await plan(database.sql, { batch_size: batchSize });
  for (let batch = 1; batch < batches; batch++) await next(runId);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });
  await next(runId);
  expect(await runOf(database.sql, runId)).toMatchObject({
    stop_cause: 'brake',
    stop_reason: expect.stringContaining(`100 % of the last ${batchSize * batches} rows`),
  });
});

test('looks back over the latest answers that together hold a thousand rows', async () => {
  await shelveMany(database.sql, 1400);
  const runId = await plan(database.sql, { batch_size: 200 });
  for (let batch = 0; batch < 4; batch++) await next(runId, 200);
  for (let batch = 0; batch < 4; batch++) await next(runId);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });
  await next(runId);
  expect(await runOf(database.sql, runId)).toMatchObject({
    stop_cause: 'brake',
    stop_reason: expect.stringContaining('100 % of the last 1000 rows'),
  });
});

test.each<[string, Record<string, unknown>, resolved: number]>([
  ['94 %', {}, 6],
  ['a dry run', { dry_run: true }, 0],
  ['a run that accepts it', { accept: ['changed', 'unresolved'] }, 0],
  ['the scope ids', { scope: 'ids' }, 0],
])('lets go on: %s', async (_, parameters, resolved) => {
  const runId = await plan(database.sql, { batch_size: 100, ids, ...parameters });
  for (let batch = 0; batch < 4; batch++) await next(runId, resolved);
  expect(await runOf(database.sql, runId)).toMatchObject({ braked_at: null, outcome: 'completed' });
});

test('a batch of which nothing was left to request takes no answer out of the measure', async () => {
  const runId = await plan(database.sql, { batch_size: 20 });
  await database.sql`
    update wxyc_schema.library set artist_name = ' ' where id = any (${ids.slice(100, 120)})`;
  for (let batch = 0; batch < 10; batch++) await next(runId);
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'brake' });
});

describe('each gauge', () => {
  const faults: Record<string, (id: number) => object> = {
    unresolved: verdict.unresolved,
    refused: verdict.invalid,
    changed: (id) => verdict.resolved(id, 42),
  };

  /** Every row of the next batch comes back like this. */
  async function nextAll(runId: string, say: (id: number) => object) {
    const { batch_id, request } = await claim(database.sql, runId);
    const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
    await settle(database.sql, batch_id, { body: answerOf(inputs.map((input) => say(input.library_id))) });
  }

  test.each(
    Object.keys(faults).flatMap((gauge) =>
      [
        [10, 20],
        [100, 3],
        [500, 2],
        [1000, 1],
      ].map(([size, batches]) => [gauge, size!, batches!] as const),
    ),
  )('%s stops a run whose batches hold %i rows after %i of them', async (gauge, size, batches) => {
    await shelveMany(database.sql, 1600);
    if (gauge === 'changed') {
      const first = await plan(database.sql, { batch_size: 1000 });
      for (let batch = 0; batch < 2; batch++) await nextAll(first, (id) => verdict.resolved(id));
    }
    const runId = await plan(database.sql, { batch_size: size, scope: 'refresh' });
    for (let batch = 1; batch < batches; batch++) await nextAll(runId, faults[gauge]!);
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null });
    await nextAll(runId, faults[gauge]!);
    expect(await runOf(database.sql, runId)).toMatchObject({
      stop_cause: 'brake',
      braked_by: gauge,
      outcome_reason: expect.stringMatching(`^100 % of the last ${size * batches} .*--accept ${gauge}$`),
    });
    const holds = await database.sql`select name, gauge, share, run_id from identity_sync.planning_hold`;
    expect([...holds]).toEqual([{ name: 'brake', gauge, share: '1.0000', run_id: runId }]);
  });

  test.each<[string, (id: number, index: number) => object]>([
    [
      'nineteen of a hundred identities name another artist',
      (id, index) => verdict.resolved(id, index % 100 < 19 ? 42 : 41),
    ],
    [
      'every identity gains a source, loses one or has another confidence',
      (id, index) => ({
        ...verdict.resolved(id),
        ...(index % 3 === 0 && { main: { discogs_artist_id: 41, spotify_artist_id: 's' } }),
        ...(index % 3 === 1 && { main: { spotify_artist_id: 's' } }),
        ...(index % 3 === 2 && { confidence: 0.8 }),
      }),
    ],
    [
      'forty-nine of a hundred verdicts are refused',
      (id, index) => (index % 100 < 49 ? verdict.invalid(id) : verdict.resolved(id)),
    ],
  ])('lets go on where %s', async (_, say) => {
    const first = await plan(database.sql, { batch_size: 400 });
    await nextAll(first, (id) => verdict.resolved(id));
    const runId = await plan(database.sql, { batch_size: 100, scope: 'refresh' });
    for (let batch = 0; batch < 4; batch++) {
      let index = 0;
      await nextAll(runId, (id) => say(id, index++));
    }
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed', braked_by: null });
  });

  test.each<[string, string | null, (id: number) => boolean]>([
    ['goes on where renamed rows name another artist', null, (id) => id % 2 === 0],
    ['stops where all others do as well', 'changed', () => true],
  ])('a night of renames %s', async (_, braked_by, names_another) => {
    const first = await plan(database.sql, { batch_size: 400 });
    await nextAll(first, (id) => verdict.resolved(id));
    await database.sql`update wxyc_schema.library set artist_name = 'Gescom' where id % 2 = 0`;
    const runId = await plan(database.sql, { batch_size: 100, scope: 'refresh' });
    for (let batch = 0; batch < 4; batch++) {
      await nextAll(runId, (id) => verdict.resolved(id, names_another(id) ? 42 : 41));
    }
    expect(await runOf(database.sql, runId)).toMatchObject({ braked_by });
    const counted = await database.sql`
      select sum(changed_counted)::integer as rows from identity_sync.settlement where run_id = ${runId}`;
    expect(counted).toMatchObject([{ rows: 200 }]);
  });

  test('changed: what a run had written when it was stopped is due, and changing it back stops no run', async () => {
    const first = await plan(database.sql, { batch_size: 400 });
    await nextAll(first, (id) => verdict.resolved(id));
    const mixedUp = await plan(database.sql, { batch_size: 100, scope: 'refresh' });
    for (let batch = 0; batch < 3; batch++) await nextAll(mixedUp, faults.changed!);
    expect(await runOf(database.sql, mixedUp)).toMatchObject({ braked_by: 'changed' });

    expect(await candidates(database.sql)).toHaveLength(300);
    const healed = await plan(database.sql, { batch_size: 100 });
    for (let batch = 0; batch < 3; batch++) await nextAll(healed, (id) => verdict.resolved(id));
    expect(await runOf(database.sql, healed)).toMatchObject({ outcome: 'completed', braked_by: null });
    expect(await candidates(database.sql)).toEqual([]);
  });

  test.each(Object.keys(faults))('%s does not stop a run that accepts it', async (gauge) => {
    const first = await plan(database.sql, { batch_size: 400 });
    await nextAll(first, (id) => verdict.resolved(id));
    const runId = await plan(database.sql, { batch_size: 100, scope: 'refresh', accept: [gauge] });
    for (let batch = 0; batch < 4; batch++) await nextAll(runId, faults[gauge]!);
    expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: null, braked_by: null });
  });
});

test('a value that no gauge has is refused', async () => {
  await expect(plan(database.sql, { accept: ['everything'] })).rejects.toMatchObject({ code: 'LS001' });
});

describe('the hold of the brake', () => {
  const holds = async () => (await database.sql`select name from identity_sync.planning_hold`).length;

  test.each<[string, Record<string, unknown>, number]>([
    ['a run by hand of the scope due lifts it', {}, 0],
    ['a dry run does not', { dry_run: true, accept: ['unresolved'] }, 1],
    ['a refresh does not', { scope: 'refresh' }, 1],
    ['a run of ids does not', { scope: 'ids' }, 1],
  ])('%s', async (_, parameters, left) => {
    await database.sql`insert into identity_sync.planning_hold (name, reason) values ('brake', 'all unresolved')`;
    const runId = await plan(database.sql, { batch_size: 400, ids, ...parameters });
    expect(await holds()).toBe(1);
    await next(runId, 400);
    expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'completed' });
    expect(await holds()).toBe(left);
  });

  test('stands where the run began before it', async () => {
    const runId = await plan(database.sql, { batch_size: 400 });
    await database.sql`insert into identity_sync.planning_hold (name, reason) values ('brake', 'all unresolved')`;
    await next(runId, 400);
    expect(await holds()).toBe(1);
  });
});

test('rows whose answers are taken back are due, though they were asked by the names that they have', async () => {
  const runId = await plan(database.sql, { batch_size: 100 });
  for (let batch = 1; batch <= 3; batch++) await next(runId);
  expect(await runOf(database.sql, runId)).toMatchObject({ stop_cause: 'brake' });
  const asked = await database.sql`
    select from identity_sync.asked_as
    join identity_sync.batch on asked_as.library_id = any (batch.library_ids)
    where batch.run_id = ${runId} and batch.state = 'applied' and asked_as.fingerprint is null`;
  expect(asked).toHaveLength(300);
});
