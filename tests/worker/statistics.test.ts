// The worker keeps the planner's statistics fresh, be autovacuum off or late.
import { expect } from 'vitest';
import { addJob } from '../support/faults.js';
import { test } from '../support/statistics.js';

test('the worker analyzes what was filled, as it rescues runs', async ({ database, cli, filled }) => {
  await cli.worker();
  await filled.fill(1500, 0);

  await expect
    .poll(
      async () => {
        await addJob(database.sql, 'rescue_identity_runs');
        return (await filled.known()).library_identity;
      },
      { interval: 500 },
    )
    .toBe(1500);
});
