// The probes of a worker as it runs: their limits follow from its settings.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { freePort } from '../support/faults.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
});
afterEach(async () => {
  await killLeftovers();
  await database.drop();
});

test('a worker that plans once a week is well for a week, the deadline of a run and five minutes', async () => {
  const port = await freePort();
  const worker = startCli(['worker'], {
    DATABASE_URL: database.url,
    LIBRARY_METADATA_URL: 'http://127.0.0.1:9',
    PLAN_CRON: '17 3 * * 1',
    RUN_DEADLINE_MINUTES: '60',
    HEALTH_PORT: port,
  });
  await worker.says('the worker is up');

  const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({
    ok: true,
    last_success: { limit_seconds: (7 * 24 * 60 + 60 + 5) * 60 },
  });
});
