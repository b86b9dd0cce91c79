// LML answers 200 with everything unresolved: the run stops, and the attempts of the rows counted are taken back.
import { beforeEach, expect, test } from 'vitest';
import { answerOf, candidates, claim, plan, settle, tryToClaim, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { marked, shelveMany } from '../../support/faults.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();
let ids: number[];

beforeEach(async () => {
  await database.sql`
    truncate wxyc_schema.library, identity_sync.run, identity_sync.attempt, identity_sync.planning_hold,
      identity_sync.settlement cascade`;
  ids = await shelveMany(database.sql, 400);
});

/** The next batch comes back, of each of its rows the first so many resolved. */
async function next(runId: string, resolved = 0, lane = 'lane'): Promise<void> {
  const { batch_id, request } = await claim(database.sql, runId, { leased_by: lane });
  await answer(batch_id, request, resolved, lane);
}

async function answer(batchId: string, request: string, resolved = 0, lane = 'lane'): Promise<void> {
  const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
  const results = inputs.map(({ library_id: id }, index) =>
    index < resolved ? verdict.resolved(id) : verdict.unresolved(id),
  );
  await settle(database.sql, batchId, { body: answerOf(results), leased_by: lane });
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
      /^95 % of the last 300 rows came back unresolved: .*--accept-unresolved$/,
    ),
    braked_at: expect.any(Date),
  });
  // What was in flight is taken back as well.
  await answer(inFlight.batch_id, inFlight.request, 0, 'other');
  expect(await marked(database.sql, 'unresolved')).toEqual([]);
  expect(await candidates(database.sql)).toHaveLength(385);
  expect(await database.sql`select from identity_sync.planning_hold where name = 'brake'`).toHaveLength(1);
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
  ['a run that accepts it', { accept_unresolved: true }, 0],
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
