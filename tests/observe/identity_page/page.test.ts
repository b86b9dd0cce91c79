// The series that the page draws beside the status.
import { expect } from 'vitest';
import { answerOf, claim, plan, resolveAll, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { useRoles } from '../../support/roles.js';
import { test } from '../../support/test.js';

const roles = useRoles();

test('an empty database has every key', async ({ database: { sql } }) => {
  const [row] = await sql`select identity_sync.identity_page() as page`;
  expect(row!.page).toMatchObject({ runs: [], calls_by_day: [], refusals: [], changes: [] });
  expect(row!.page.due_by_day).toHaveLength(28);
});

test('runs come in their order without those that asked nothing or were dry, and calls by day in UTC', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre', 'Stereolab');
  const dry = await plan(sql, { dry_run: true });
  const preview = await claim(sql, dry);
  await settle(sql, preview.batch_id, { body: resolveAll(preview.request), latencyMs: 100 });
  const real = await plan(sql);
  const { batch_id, request } = await claim(sql, real);
  await settle(sql, batch_id, { body: resolveAll(request), latencyMs: 300 });
  await plan(sql);
  await sql`update identity_sync.lml_call set started_at = '2020-01-01' where batch_id = ${preview.batch_id}`;

  const [row] =
    await sql`select identity_sync.identity_page() as page, (now() at time zone 'UTC')::date::text as today`;
  expect(row!.page.runs).toMatchObject([{ run_id: Number(real), new: 2 }]);
  expect(row!.page.calls_by_day).toEqual([
    { day: row!.today, calls: 1, failures: 0, p50_ms: 300, p95_ms: 300 },
  ]);
});

test('of many runs the last thirty are drawn', async ({ database: { sql } }) => {
  const [library] = await shelveAll(sql, 'Autechre');
  await sql`
    select identity_sync.apply_identity_response(${answerOf([verdict.resolved(library)])}, null)
    from generate_series(1, 31)`;
  const [row] = await sql`
    select identity_sync.identity_page() -> 'runs' as runs, max(run_id)::integer as latest from identity_sync.run`;
  expect(row!.runs).toHaveLength(30);
  expect(row!.runs.at(-1)).toMatchObject({ run_id: row!.latest, scope: 'repair' });
});

test('a reader may ask for it, and days out of range are refused', async ({ database }) => {
  await roles.run(database.url);
  await database.sql.begin(async (tx) => {
    await tx`set local role ${tx(roles.reader)}`;
    await tx`select identity_sync.identity_page()`;
  });
  await expect(database.sql`select identity_sync.identity_page(stale_days => -1)`).rejects.toMatchObject({
    code: 'LS001',
  });
});
