// The probes of a worker as it runs: their limits follow from its settings.
import { expect } from 'vitest';
import { freePort } from '../support/faults.js';
import { test } from '../support/test.js';

test('a worker that plans once a week is well for a week, the deadline of a run and five minutes', async ({
  cli,
}) => {
  const port = await freePort();
  await cli.worker({ PLAN_CRON: '17 3 * * 1', RUN_DEADLINE_MINUTES: '60', HEALTH_PORT: port });

  const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({
    ok: true,
    last_success: { limit_seconds: (7 * 24 * 60 + 60 + 5) * 60 },
  });
});
