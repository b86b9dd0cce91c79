import { expect } from 'vitest';
import { claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('says how far a run is, how fast, and when it will be over', async ({ database: { sql } }) => {
  await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa', 'Juana Molina');
  const runId = await plan(sql, { batch_size: 1 });
  const described = async () => {
    const [row] = await sql`select identity_sync_private.describe_open_run(${runId}) as run`;
    return row!.run;
  };
  expect(await described()).toMatchObject({
    planned: 4,
    done: 0,
    failed: 0,
    rows_per_second: null,
    seconds_left: null,
  });

  const { batch_id, request } = await claim(sql, runId);
  await settle(sql, batch_id, { body: resolveAll(request) });
  const failed = await claim(sql, runId);
  await settle(sql, failed.batch_id, { status: 404 });
  await claim(sql, runId);
  await sql`update identity_sync.run set started_at = clock_timestamp() - interval '10 seconds'`;

  expect(await described()).toMatchObject({
    planned: 4,
    done: 1,
    failed: 1,
    batches_left: 2,
    calls_in_flight: 1,
    rows_per_second: expect.closeTo(0.1, 1),
    seconds_left: expect.closeTo(21, -1),
  });

  // Of an hour's run the last minute counts. A call whose lease has ended is none.
  await sql`update identity_sync.run set started_at = clock_timestamp() - interval '1 hour'`;
  await sql`update identity_sync.batch set leased_until = clock_timestamp() where leased_by is not null`;
  await sql`update identity_sync.batch set closed_at = clock_timestamp() where state = 'applied'`;
  expect(await described()).toMatchObject({ seconds_left: 120, calls_in_flight: 0 });

  // A run that has just begun, or a clock set back, counts as a second.
  await sql`update identity_sync.run set started_at = clock_timestamp() + interval '1 minute'`;
  expect(await described()).toMatchObject({ rows_per_second: 1, seconds_left: 2 });
});
