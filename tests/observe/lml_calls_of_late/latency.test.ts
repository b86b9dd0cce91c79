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
