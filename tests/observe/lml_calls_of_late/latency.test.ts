import { expect } from 'vitest';
import { claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('latency is that of answers, and the last call is told however it ended', async ({
  database: { sql },
}) => {
  const lml = async () => {
    const [row] = await sql`select identity_sync_private.lml_calls_of_late() as lml`;
    return row!.lml;
  };
  expect(await lml()).toEqual({
    calls_in_flight: 0,
    concurrency: null,
    recent_calls: 0,
    recent_failures: 0,
    p50_ms: null,
    p95_ms: null,
    last_answer: null,
  });

  await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa', 'Juana Molina');
  const runId = await plan(sql, { batch_size: 1 });
  for (const latencyMs of [100, 200, 300]) {
    const { batch_id, request } = await claim(sql, runId);
    await settle(sql, batch_id, { body: resolveAll(request), latencyMs });
  }
  const { batch_id } = await claim(sql, runId);
  await settle(sql, batch_id, {
    status: null,
    failure: 'no answer within 30 s',
    latencyMs: 30_000,
    maxTries: 2,
  });

  expect(await lml()).toMatchObject({
    recent_calls: 4,
    recent_failures: 1,
    p50_ms: 200,
    p95_ms: 290,
    last_answer: { http_status: null, failure: 'no answer within 30 s', latency_ms: 30_000 },
  });
});

test('the last hundred calls count, and of several workers the one with most lanes', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre');
  const { batch_id } = await claim(sql, await plan(sql));
  await sql`
    insert into identity_sync.lml_call (batch_id, leased_by, inputs, answered_at, latency_ms, http_status)
    select ${batch_id}, 'station:1:1', 1, clock_timestamp(), 1, 200 from generate_series(1, 101)`;
  for (const [worker, lanes] of Object.entries({ 'station:1': 2, 'station:2': 4 })) {
    await sql`select identity_sync.rescue_identity_runs(lanes => ${lanes}, worker => ${worker}, version => '0.1.0')`;
  }
  const [row] = await sql`select identity_sync_private.lml_calls_of_late() as lml`;
  expect(row!.lml).toMatchObject({ recent_calls: 100, concurrency: 4 });
});
