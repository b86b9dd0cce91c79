// What no one will need again is deleted; history and what undoing needs stay.
import { expect, test } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const prune = (keep_days: number | null) => call(database.sql, 'prune_identity_sync', { keep_days });

/** How many rows there are of what may go and of what must stay. */
async function rows() {
  const [counts] = await database.sql`
    select
      (select count(*)::integer from identity_sync.batch) as batches,
      (select count(*)::integer from identity_sync.lml_call) as calls,
      (select count(*)::integer from identity_sync.quarantined_verdict) as refused,
      (select count(*)::integer from identity_sync.run) as runs,
      (select count(*)::integer from identity_sync.settlement) as settlements,
      (select count(*)::integer from identity_sync.superseded_source) as superseded,
      (select count(*)::integer from wxyc_schema.library_identity_history) as history`;
  return { ...counts };
}

/** Carries a run over these records, of which LML says this. */
async function carry(results: object[], ids: number[]) {
  const runId = await plan(database.sql, { scope: 'ids', ids });
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: answerOf(results) });
}

test('old batches with their calls go, and quarantine closed long ago; what is younger stays', async () => {
  const { sql } = database;
  const [changed, refused] = await shelveAll(sql, 'Stereolab', 'Broadcast');
  await carry([verdict.resolved(changed), verdict.invalid(refused)], [changed, refused]);
  await carry([verdict.resolved(changed, 77), verdict.resolved(refused)], [changed, refused]);
  const before = await rows();
  expect(before).toMatchObject({ batches: 2, calls: 2, refused: 1, runs: 2, history: 1 });

  await prune(30);
  expect(await rows()).toEqual(before);

  await sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  await sql`update identity_sync.quarantined_verdict set closed_at = closed_at - interval '31 days'`;
  await prune(30);
  expect(await rows()).toEqual({ ...before, batches: 0, calls: 0, refused: 0 });
});

test('quarantine that is open stays, and so do the batches of a run that is open', async () => {
  const { sql } = database;
  const [refused] = await shelveAll(sql, 'Laika');
  await carry([verdict.invalid(refused)], [refused]);
  await sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  await plan(sql, { scope: 'ids', ids: [refused] });
  await sql`update identity_sync.run set started_at = started_at - interval '31 days' where finished_at is null`;

  await prune(1);

  expect(await rows()).toMatchObject({ batches: 1, refused: 1 });
});

test.each([0, -1, null, 3_000_000])('keeping %s days is refused', async (days) => {
  await expect(prune(days)).rejects.toMatchObject({ code: 'LS001' });
});

test('quarantine of a library that is gone is closed, and no other', async () => {
  const { sql } = database;
  const [gone, stays] = await shelveAll(sql, 'Pram', 'Movietone');
  await carry([verdict.invalid(gone), verdict.invalid(stays), verdict.resolved(999_999_999)], [gone, stays]);
  await sql`delete from wxyc_schema.library where id = ${gone}`;

  await prune(30);

  const entries = await sql`
    select library_id, closed_reason from identity_sync.quarantined_verdict
    where library_id in (${gone}, ${stays}, 999999999) order by library_id`;
  expect([...entries]).toEqual([
    { library_id: gone, closed_reason: 'the library is gone' },
    { library_id: stays, closed_reason: null },
    { library_id: 999_999_999, closed_reason: 'the library is gone' },
  ]);
});

test('what a library was asked by goes with the library', async () => {
  const { sql } = database;
  const [kept, gone] = await shelveAll(sql, 'Pram', 'Laika');
  await carry([verdict.unresolved(kept), verdict.unresolved(gone)], [kept, gone]);
  await sql`delete from wxyc_schema.library where id = ${gone}`;
  await prune(30);
  const asked =
    await sql`select library_id from identity_sync.asked_as where library_id in (${kept}, ${gone})`;
  expect([...asked]).toEqual([{ library_id: kept }]);
});
