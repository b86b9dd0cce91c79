// What the brake takes back is exactly what was there before: marks, releases, and older entries of the quarantine.
import { beforeEach, expect, test } from 'vitest';
import { answerOf, call, candidates, claim, plan, settle, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
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

/** Every row of the next batch comes back like this. */
async function next(runId: string, say: (id: number) => object, leased_by = 'lane') {
  await answer(await claim(database.sql, runId, { leased_by }), say, leased_by);
}

async function answer(
  { batch_id, request }: { batch_id: string; request: string },
  say: (id: number) => object,
  leased_by = 'lane',
) {
  const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
  const results = inputs.map((input) => say(input.library_id));
  await settle(database.sql, batch_id, { body: answerOf(results), leased_by });
}

/** What LML said of these rows so many days ago. */
async function said(daysAgo: number, ...results: { library_id: number }[]) {
  await call(database.sql, 'apply_identity_response', {
    body: answerOf(results),
    requested: results.map((result) => result.library_id),
    origin: 'consumer:lml-bulk',
    verified_at: new Date(Date.now() - daysAgo * 86_400_000),
  });
}

async function state() {
  const attempts = await database.sql`select * from identity_sync.attempt order by library_id`;
  const open = await database.sql`
    select quarantine_id, library_id from identity_sync.quarantined_verdict
    where closed_at is null order by quarantine_id`;
  return { attempts: [...attempts], open: [...open] };
}

test('a refusal gives back the mark, the release and the older refusal that it replaced', async () => {
  const [refused, released, unresolved] = ids as [number, number, number];
  await said(40, verdict.invalid(refused), verdict.unresolved(unresolved));
  await said(50, verdict.invalid(released));
  await call(database.sql, 'release_identity', { library_id: released, reason: 'another artist' });
  const before = await state();
  expect(before).toMatchObject({ attempts: { length: 3 }, open: { length: 2 } });

  const runId = await plan(database.sql, { batch_size: 100 });
  await next(runId, (id) => (id === released ? verdict.unresolved(id) : verdict.invalid(id)));
  expect(await state()).not.toEqual(before);
  await next(runId, verdict.invalid);
  const inFlight = await claim(database.sql, runId, { leased_by: 'other' });
  await next(runId, verdict.invalid);

  expect(await runOf(database.sql, runId)).toMatchObject({ braked_by: 'refused' });
  expect(await state()).toEqual(before);
  expect(await candidates(database.sql)).toEqual(ids);

  // What was in flight is one of the answers of the run, too.
  await answer(inFlight, verdict.invalid, 'other');
  expect(await state()).toEqual(before);
});

test('a changed identity gives back the mark that it lifted, and the entry that it closed', async () => {
  await said(60, ...ids.map((id) => verdict.resolved(id)));
  const refused = ids[0]!;
  await said(40, verdict.invalid(refused));
  const before = await state();
  expect(before).toMatchObject({ attempts: { length: 1 }, open: { length: 1 } });

  const runId = await plan(database.sql, { batch_size: 100 });
  for (let batch = 0; batch < 3; batch++) await next(runId, (id) => verdict.resolved(id, 42));

  expect(await runOf(database.sql, runId)).toMatchObject({ braked_by: 'changed' });
  expect(await state()).toEqual(before);
});

test('what the gauge does not count stands: rows long known as unresolved, refusals beside them', async () => {
  const known = ids.slice(0, 20);
  const refused = ids.slice(20, 22);
  const readableNow = ids[22]!;
  await said(40, ...known.map((id) => verdict.unresolved(id)), verdict.invalid(readableNow));

  const runId = await plan(database.sql, { batch_size: 100 });
  for (let batch = 0; batch < 3; batch++) {
    await next(runId, (id) => (refused.includes(id) ? verdict.invalid(id) : verdict.unresolved(id)));
  }

  expect(await runOf(database.sql, runId)).toMatchObject({ braked_by: 'unresolved' });
  expect(await marked(database.sql, 'unresolved')).toEqual([...known, readableNow]);
  expect(await marked(database.sql, 'invalid_verdict')).toEqual(refused);
  expect((await state()).open.map((entry) => entry.library_id)).toEqual(refused);
});

test('the answers of earlier thousands stand', async () => {
  const more = await shelveMany(database.sql, 1600);
  const runId = await plan(database.sql, { batch_size: 500 });
  await next(runId, (id) => (id % 100 === 0 ? verdict.unresolved(id) : verdict.resolved(id)));
  await next(runId, verdict.resolved);
  const marks = await marked(database.sql, 'unresolved');
  expect(marks.length).toBeGreaterThan(0);
  for (let batch = 0; batch < 2; batch++) await next(runId, verdict.unresolved);

  expect(await runOf(database.sql, runId)).toMatchObject({ braked_by: 'unresolved' });
  expect(await marked(database.sql, 'unresolved')).toEqual(marks);
  expect((await candidates(database.sql)).filter((id) => more.slice(-1000).includes(id))).toHaveLength(1000);
});

test('what a later answer has settled stays so: no older mark and no older refusal comes back', async () => {
  const [repaired, refused] = ids as [number, number];
  await said(60, verdict.resolved(repaired), verdict.resolved(refused));
  await said(40, verdict.unresolved(repaired), verdict.invalid(refused));
  const runId = await plan(database.sql, { batch_size: 100, scope: 'refresh' });
  await next(runId, verdict.invalid);
  const verdicts = [verdict.resolved(repaired), verdict.resolved(refused)];
  const requested = [repaired, refused];
  await call(database.sql, 'apply_identity_response', { body: answerOf(verdicts), requested });
  const settled = await state();
  for (let batch = 0; batch < 2; batch++) await next(runId, verdict.invalid);

  expect(await runOf(database.sql, runId)).toMatchObject({ braked_by: 'refused' });
  expect(settled).toMatchObject({ attempts: { length: 98 }, open: { length: 98 } });
  expect(await state()).toEqual({ attempts: [], open: [] });
});
