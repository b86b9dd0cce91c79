// Rows of the library go, are merged and come back by the statements of the station's backend, which knows nothing of this
// service. Nothing is left behind that keeps a row from being asked, and the backend never waits.
import { expect } from 'vitest';
import {
  answerOf,
  call,
  candidates,
  claim,
  plan,
  settle,
  shelveAll,
  verdict,
} from '../../support/catalogue.js';
import { connect, type TestDatabase } from '../../support/database.js';
import { test } from '../../support/test.js';

const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);

/** Deletes a row as the backend does: identities first, and without a wait. */
const remove = ({ url }: TestDatabase, id: number) =>
  connect(url).unsafe(`
    begin;
    set local lock_timeout = '750ms';
    delete from wxyc_schema.library_identity_source where library_id = ${id};
    delete from wxyc_schema.library_identity where library_id = ${id};
    delete from wxyc_schema.library where id = ${id};
    commit;`);

/** Puts a row back under the id that it had, without its identity. */
const restore = ({ sql }: TestDatabase, id: number, artist: string) => sql`
  insert into wxyc_schema.library (id, artist_id, artist_name, album_title, canonical_entity_id, legacy_release_id)
  select ${id}::integer, min(artists.id), ${artist}, 'Untitled', 'artist:1', 800000 + ${id}::integer
  from wxyc_schema.artists`;

/** Merges one row into another as the backend's job does. */
const merge = ({ url }: TestDatabase, loser: number, survivor: number) =>
  connect(url).unsafe(`
    begin;
    set local lock_timeout = '750ms';
    update wxyc_schema.library_identity set library_id = ${survivor} where library_id = ${loser};
    update wxyc_schema.library_identity_source set library_id = ${survivor} where library_id = ${loser};
    update wxyc_schema.library_identity_history set library_id = ${survivor} where library_id = ${loser};
    delete from wxyc_schema.library where id = ${loser};
    commit;`);

const said = ({ sql }: TestDatabase, origin: string, days: number, ...results: { library_id: number }[]) =>
  call(sql, 'apply_identity_response', {
    body: answerOf(results),
    requested: results.map((result) => result.library_id),
    origin,
    verified_at: daysAgo(days),
  });

const SERVICE = 'consumer:lml-bulk';
const REPAIR = 'repair:music-director';

/** What this service still holds about a library. */
async function left({ sql }: TestDatabase, id: number) {
  const [row] = await sql`
    select
      (select count(*)::integer from identity_sync.attempt where library_id = ${id}) as marks,
      (select count(*)::integer from identity_sync.quarantined_verdict
        where library_id = ${id} and closed_at is null) as refused`;
  return { ...row };
}

test('a row that has gone leaves no mark and no open quarantine for longer than a day', async ({
  database,
}) => {
  const [unresolved, refused, held, stays] = await shelveAll(
    database.sql,
    ...(['Stereolab', 'Broadcast', 'Pram', 'Laika'] as const),
  );
  await said(database, REPAIR, 9, verdict.resolved(held));
  await said(
    database,
    ...([SERVICE, 1] as const),
    ...[
      verdict.unresolved(unresolved),
      verdict.invalid(refused),
      verdict.resolved(held),
      verdict.unresolved(stays),
    ],
  );
  for (const id of [unresolved, refused, held]) await remove(database, id);
  await call(database.sql, 'prune_identity_sync', { keep_days: 30 });

  for (const id of [unresolved, refused, held]) {
    expect(await left(database, id)).toEqual({ marks: 0, refused: 0 });
    await restore(database, id, 'Stereolab');
  }
  expect(await candidates(database.sql)).toEqual([unresolved, refused, held]);
});

test('a row that comes back without the identity that was set by hand is asked at once', async ({
  database,
}) => {
  const [held] = await shelveAll(database.sql, 'Pram');
  await said(database, REPAIR, 9, verdict.resolved(held));
  await said(database, SERVICE, 1, verdict.resolved(held));
  expect(await candidates(database.sql)).toEqual([]);
  await remove(database, held);
  await restore(database, held, 'Pram');
  expect(await candidates(database.sql)).toEqual([held]);
});

test('a row that goes while it is asked counts as gone, and leaves the others of its batch alone', async ({
  database,
}) => {
  const [goes, stays] = await shelveAll(database.sql, 'Stereolab', 'Broadcast');
  await said(database, SERVICE, 9, verdict.resolved(goes), verdict.resolved(stays));
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await remove(database, goes);
  await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(goes), verdict.resolved(stays)]) });
  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  expect(row!.report).toMatchObject({
    outcome: 'completed',
    rows_resolved: 1,
    rows_skipped: { library_gone: 1 },
  });
  expect(await left(database, goes)).toEqual({ marks: 0, refused: 0 });
});

test('a merge while both are asked: what was set by hand holds under its new id', async ({ database }) => {
  const [loser, survivor] = await shelveAll(database.sql, 'Stereolab', 'Stereolab');
  await said(database, REPAIR, 9, verdict.resolved(loser, 77));
  await said(database, SERVICE, 40, verdict.unresolved(survivor));
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await merge(database, loser, survivor);
  await settle(database.sql, batch_id, {
    body: answerOf([verdict.resolved(loser), verdict.resolved(survivor)]),
  });

  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  expect(row!.report.rows_skipped).toMatchObject({ library_gone: 1, manual_precedence: 1 });
  const identities = await database.sql`
    select library_id, discogs_artist_id, notes from wxyc_schema.library_identity`;
  expect([...identities]).toEqual([{ library_id: survivor, discogs_artist_id: 77, notes: REPAIR }]);
  await call(database.sql, 'prune_identity_sync', { keep_days: 30 });
  expect(await left(database, loser)).toEqual({ marks: 0, refused: 0 });
  // Set by hand, it is looked at again as any identity is.
  expect(await candidates(database.sql, { stale_days: 0 })).toEqual([survivor]);
});

test('a merged identity is confirmed under its new id, and keeps its history', async ({ database }) => {
  const [loser, survivor] = await shelveAll(database.sql, 'Stereolab', 'Stereolab');
  await said(database, SERVICE, 60, verdict.resolved(loser, 12));
  await said(database, SERVICE, 9, verdict.resolved(loser));
  await merge(database, loser, survivor);
  expect(await candidates(database.sql)).toEqual([survivor]);
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(survivor)]) });
  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  expect(row!.report).toMatchObject({ identity: { unchanged: 1 }, source: { inserted: 0, removed: 0 } });
  const [history] = await database.sql`
    select count(*)::integer as rows from wxyc_schema.library_identity_history where library_id = ${survivor}`;
  expect(history!.rows).toBe(1);
});

test('the backend deletes a row while its batch waits for another writer', async ({ database }) => {
  const [edited, goes] = await shelveAll(database.sql, 'Stereolab', 'Broadcast');
  await said(database, SERVICE, 9, verdict.resolved(edited), verdict.resolved(goes));
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  const other = connect(database.url);
  // Another writer holds both rows of the identity, one after the other.
  await other`begin`;
  await other`update wxyc_schema.library_identity set discogs_release_id = 5 where library_id = ${goes}`;
  const lane = connect(database.url);
  const settled = settle(lane, batch_id, {
    body: answerOf([verdict.resolved(edited), verdict.resolved(goes)]),
  });
  await expect
    .poll(async () => {
      const waiting = await database.sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return waiting.length;
    })
    .toBe(1);
  await remove(database, edited);
  await other`commit`;
  expect(await settled).toMatch(/^(kept|applied)$/);
});
