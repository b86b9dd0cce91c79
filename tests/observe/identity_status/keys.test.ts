// The document that the screen, the page and scripts share: its keys are those that README.md names, at any time.
import { expect } from 'vitest';
import { answerOf, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { readText } from '../../support/repository.js';
import { test } from '../../support/test.js';

/** The keys that README.md documents, as paths: `runs[].changed`. */
const documented = () => {
  const table = /<!-- keys of status -->\n([\s\S]*?)<!-- \/keys -->/.exec(readText('README.md'))![1]!;
  return [...table.matchAll(/^\| `([\w[\]]+)` \|(.*?)\|/gm)]
    .flatMap(([, key, inner]) => {
      const names = [...inner!.matchAll(/`(\w+)`/g)].map(([, name]) => name);
      return names.length === 0 ? [key!] : names.map((name) => `${key}.${name}`);
    })
    .sort();
};

/** The keys of a document, to the second level. */
const keysOf = (status: Record<string, unknown>) =>
  Object.entries(status)
    .flatMap(([key, value]) => {
      const isList = Array.isArray(value);
      const inner = isList ? value[0] : value;
      if (inner === null || typeof inner !== 'object' || key === 'coverage') return [key];
      return Object.keys(inner).map((name) => `${isList ? `${key}[]` : key}.${name}`);
    })
    .sort();

test('has the keys that README.md names, and no others', async ({ database: { sql } }) => {
  const [one, other] = await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa');
  const runId = await plan(sql, { ids: [one, other], scope: 'ids' });
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { body: answerOf([verdict.resolved(one), verdict.invalid(other)]) });
  await plan(sql);
  await sql`select identity_sync.rescue_identity_runs(2, 'station:1', '0.1.0', '17 3 * * *')`;

  const [row] = await sql`select identity_sync.identity_status() as status`;
  expect(keysOf(row!.status)).toEqual(documented());
  expect(row!.status).toMatchObject({
    planning: { crons: ['17 3 * * *'], holds: [], last_success_at: null },
    open_runs: [{ scope: 'due' }],
    runs: [{ run_id: Number(runId), scope: 'ids' }],
    workers: [{ name: 'station:1', version: '0.1.0', is_alive: true, concurrency: 2 }, { name: 'lane' }],
    quarantine: { entries: 1, by_reason: [{ outcome: 'invalid_verdict', field: 'kind', entries: 1 }] },
    gate: { libraries: 3 },
  });
});

test('a repair is no success of the service', async ({ database: { sql } }) => {
  const [library] = await shelveAll(sql, 'Autechre');
  await sql`select identity_sync.apply_identity_response(${answerOf([verdict.resolved(library)])}, null)`;
  const [row] = await sql`select identity_sync.identity_status() as status`;
  expect(row!.status).toMatchObject({
    runs: [{ scope: 'repair', outcome: 'completed' }],
    planning: { last_success_at: null },
  });
});

test('of many runs the last ten are listed, the latest first', async ({ database: { sql } }) => {
  const [library] = await shelveAll(sql, 'Autechre');
  await sql`
    select identity_sync.apply_identity_response(${answerOf([verdict.resolved(library)])}, null)
    from generate_series(1, 11)`;
  const [row] = await sql`
    select identity_sync.identity_status() -> 'runs' as runs, max(run_id)::integer as latest from identity_sync.run`;
  expect(row!.runs).toHaveLength(10);
  expect(row!.runs[0]).toMatchObject({ run_id: row!.latest });
});

test('an empty database has them too', async ({ database: { sql } }) => {
  const [row] = await sql`select identity_sync.identity_status() as status`;
  const listed = documented().filter((path) => !path.includes('[]'));
  expect(keysOf(row!.status).filter((path) => path.includes('.'))).toEqual(
    listed.filter((path) => path.includes('.')),
  );
  expect(row!.status).toMatchObject({ open_runs: [], runs: [], workers: [], coverage: {} });
});

test('refuses days that are out of range', async ({ database: { sql } }) => {
  await expect(sql`select identity_sync.identity_status(stale_days => -1)`).rejects.toMatchObject({
    code: 'LS001',
  });
});
