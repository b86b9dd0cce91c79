// What an open run waits for is named, with the time when that ends by itself.
import type { Sql } from 'postgres';
import { expect } from 'vitest';
import { claim, plan, settle, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

const waitsOf = async (
  sql: Sql,
  runId: string,
): Promise<{ kind: string; until: string | null; what: string }[]> => {
  const [row] = await sql`select identity_sync_private.waits_of_run(${runId}) as waits`;
  return row!.waits;
};

const live = (sql: Sql, worker: string) =>
  sql`select identity_sync.rescue_identity_runs(lanes => 2, worker => ${worker}, version => '0.1.0')`;

test('a run that moves waits for nothing, and one without a worker for that', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre');
  const runId = await plan(sql);
  expect(await waitsOf(sql, runId)).toEqual([{ kind: 'worker', until: null, what: 'no worker is alive' }]);
  await live(sql, 'station:1');
  await claim(sql, runId, { leased_by: 'station:1:10' });
  expect(await waitsOf(sql, runId)).toEqual([]);
});

test('a pause that LML asked for, until when', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre');
  const runId = await plan(sql);
  await live(sql, 'station:1');
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { status: 429, retryAfter: '40' });
  const [pause] = await waitsOf(sql, runId);
  expect(pause).toEqual({ kind: 'pause', until: expect.any(String), what: 'LML asked for a pause (429)' });
  expect(Date.parse(pause!.until!) - Date.now()).toBeGreaterThan(20_000);
});

test('a batch to be tried again, and what LML said', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre');
  const runId = await plan(sql);
  await live(sql, 'station:1');
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, { status: 503, maxTries: 9 });
  expect(await waitsOf(sql, runId)).toEqual([
    { kind: 'batch', until: expect.any(String), what: 'batches to be tried again: 1; LML answered 503' },
  ]);
});

test('the breaker, with how often and why', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa', 'Juana Molina');
  const runId = await plan(sql, { batch_size: 1 });
  await live(sql, 'station:1');
  for (let batch = 0; batch < 3; batch++) {
    const { batch_id } = await claim(sql, runId);
    await settle(sql, batch_id, { status: 502 });
  }
  expect(await waitsOf(sql, runId)).toEqual([
    {
      kind: 'pause',
      until: expect.any(String),
      what: 'batch after batch failed, pause 1 of 4: LML answered 502',
    },
  ]);
});

test('the lease of a process that is silent, until it ends', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre');
  const runId = await plan(sql);
  await live(sql, 'station:1');
  await claim(sql, runId, { leased_by: 'station:2:11' });
  await sql`update identity_sync.worker set asked_at = clock_timestamp() - interval '1 minute' where name = 'station:2'`;
  expect(await waitsOf(sql, runId)).toEqual([
    { kind: 'lease', until: expect.any(String), what: '1 in the hands of station:2, which is silent' },
  ]);
});

test('leases of a process that is gone, until the last one ends', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre', 'Stereolab');
  const runId = await plan(sql, { batch_size: 1 });
  await claim(sql, runId, { leased_by: 'station:2:11', concurrency: 2 });
  const last = await claim(sql, runId, { leased_by: 'station:2:12', concurrency: 2 });
  await sql`
    update identity_sync.batch set leased_until = leased_until + interval '1 hour' where batch_id = ${last.batch_id}`;
  await sql`delete from identity_sync.worker`;
  await live(sql, 'station:1');

  const [lease] = await waitsOf(sql, runId);
  expect(lease).toMatchObject({ kind: 'lease', what: '2 in the hands of station:2, which is silent' });
  expect(Date.parse(lease!.until!) - Date.now()).toBeGreaterThan(3_600_000);
});
