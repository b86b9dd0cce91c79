// An answer belongs to the name that it was asked by: a row renamed since is due at once.
import { expect } from 'vitest';
import { answerOf, call, candidates, claim, plan, settle, shelve, verdict } from '../../support/catalogue.js';
import type { TestDatabase } from '../../support/database.js';
import { reportOf } from '../../support/ledger.js';
import { test } from '../../support/test.js';

const rename = (database: TestDatabase, id: number, name: string) =>
  database.sql`update wxyc_schema.library set artist_name = ${name} where id = ${id}`;

const identities = (database: TestDatabase) =>
  database.sql`select library_id, discogs_artist_id from wxyc_schema.library_identity order by library_id`;

/** Has LML asked for what is due, and answer with these verdicts. */
async function ask(database: TestDatabase, results: object[], meanwhile?: () => PromiseLike<unknown>) {
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await meanwhile?.();
  await settle(database.sql, batch_id, { body: answerOf(results) });
  return (await reportOf(database.sql, runId)) as Record<string, unknown>;
}

for (const [way, answer] of [
  ['resolved', verdict.resolved],
  ['not resolved', verdict.unresolved],
  ['called a compilation', verdict.compilation],
  ['refused', verdict.invalid],
] as const) {
  test(`a row ${way} is due as soon as it is renamed, and is then remembered by its new name`, async ({
    database,
  }) => {
    const id = await shelve(database.sql, 'Steroelab');
    await ask(database, [answer(id)]);
    expect(await candidates(database.sql)).toEqual([]);

    await rename(database, id, 'Stereolab');
    expect(await candidates(database.sql)).toEqual([id]);

    await ask(database, [verdict.unresolved(id)]);
    expect(await candidates(database.sql)).toEqual([]);
  });
}

test('another title is another question, too', async ({ database }) => {
  const id = await shelve(database.sql, 'Stereolab');
  await ask(database, [verdict.resolved(id)]);
  await database.sql`update wxyc_schema.library set album_title = 'Dots and Loops' where id = ${id}`;
  expect(await candidates(database.sql)).toEqual([id]);
});

test('a poison input that is renamed is due', async ({ database }) => {
  const id = await shelve(database.sql, 'Steroelab');
  const { batch_id } = await claim(database.sql, await plan(database.sql));
  expect(await settle(database.sql, batch_id, { status: 422, body: '{"message": "no"}' })).toBe(
    'poison_input',
  );
  expect(await candidates(database.sql)).toEqual([]);
  await rename(database, id, 'Stereolab');
  expect(await candidates(database.sql)).toEqual([id]);
});

test('an answer for a row that was renamed while its call was under way is stale, and the row stays due', async ({
  database,
}) => {
  const id = await shelve(database.sql, 'Beck');
  const other = await shelve(database.sql, 'Autechre');

  const report = await ask(database, [verdict.resolved(id), verdict.resolved(other)], () =>
    rename(database, id, 'Beck (2)'),
  );

  expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { stale_verdict: 1 } });
  expect(await identities(database)).toMatchObject([{ library_id: other }]);
  expect(await candidates(database.sql)).toEqual([id]);
});

test('a row that was named only after the request counts nowhere, and stays due', async ({ database }) => {
  const blank = await shelve(database.sql, 'Sun Ra');
  const other = await shelve(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  await rename(database, blank, ' ');
  const { batch_id } = await claim(database.sql, runId);
  await rename(database, blank, 'Sun Ra');

  await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(other)]) });

  expect(await reportOf(database.sql, runId)).toMatchObject({
    scanned: 1,
    rows_resolved: 1,
    rows_skipped: { lml_cardinality_mismatch: 0 },
  });
  expect(await candidates(database.sql)).toEqual([blank]);
});

test('a library id that is deleted and used again inherits nothing', async ({ database }) => {
  const id = await shelve(database.sql, 'Stereolab');
  await ask(database, [verdict.unresolved(id)]);
  await database.sql`delete from wxyc_schema.library where id = ${id}`;
  const next = await shelve(database.sql, 'Autechre');
  await database.sql`update wxyc_schema.library set id = ${id} where id = ${next}`;

  expect(await candidates(database.sql)).toEqual([id]);
});

test('a row held by hand that is renamed is asked once, and held', async ({ database }) => {
  const id = await shelve(database.sql, 'Steroelab');
  await ask(database, [verdict.resolved(id, 41)]);
  await call(database.sql, 'apply_identity_verdicts', { response: verdict.resolved(id, 42) });
  await rename(database, id, 'Stereolab');
  expect(await candidates(database.sql)).toEqual([id]);

  expect(await ask(database, [verdict.resolved(id, 43)])).toMatchObject({
    rows_skipped: { manual_precedence: 1 },
  });

  expect(await candidates(database.sql)).toEqual([]);
  expect(await identities(database)).toMatchObject([{ discogs_artist_id: 42 }]);
});

test('an identity that was adopted is not due for a name', async ({ database }) => {
  const id = await shelve(database.sql, 'Stereolab');
  await database.sql`
    insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
    values (${id}, 'exact_match', 1, now())`;
  await rename(database, id, 'Stereolab (2)');
  expect(await candidates(database.sql)).toEqual([]);
});

test('what a dry run asked is stale where the row was renamed before it is applied', async ({ database }) => {
  const id = await shelve(database.sql, 'Steroelab');
  const runId = await plan(database.sql, { dry_run: true });
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(id)]) });
  await rename(database, id, 'Stereolab');

  const [row] = await call<{ apply_identity_preview: object }>(database.sql, 'apply_identity_preview', {
    run_id: runId,
  });
  expect(row!.apply_identity_preview).toMatchObject({ rows_resolved: 0, rows_skipped: { stale_verdict: 1 } });
  expect(await candidates(database.sql)).toEqual([id]);
});

test('a quarantined verdict is stale where the row was renamed before it is replayed', async ({
  database,
}) => {
  const id = await shelve(database.sql, 'Steroelab');
  await database.sql`alter table wxyc_schema.library_identity add constraint no check (library_id <> ${database.sql.unsafe(String(id))})`;
  await shelve(database.sql, 'Autechre').then((other) =>
    ask(database, [verdict.resolved(id), verdict.resolved(other)]),
  );
  await database.sql`alter table wxyc_schema.library_identity drop constraint no`;
  await rename(database, id, 'Stereolab');

  const [row] = await call<{ replay_quarantined_verdicts: object }>(
    database.sql,
    'replay_quarantined_verdicts',
  );
  expect(row!.replay_quarantined_verdicts).toMatchObject({
    replayed: 1,
    rows_resolved: 0,
    rows_skipped: { stale_verdict: 1 },
  });
  expect(await candidates(database.sql)).toEqual([id]);
});
