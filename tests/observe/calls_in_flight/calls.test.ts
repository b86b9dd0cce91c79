import { expect } from 'vitest';
import { claim, plan, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('counts the calls of one worker or of all, and none whose lease has ended', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa');
  const runId = await plan(sql, { batch_size: 1 });
  await claim(sql, runId, { leased_by: 'station:1:10', concurrency: 3 });
  await claim(sql, runId, { leased_by: 'station:2:11', concurrency: 3 });
  const dead = await claim(sql, runId, { leased_by: 'station:2:12', concurrency: 3 });
  await sql`update identity_sync.batch set leased_until = clock_timestamp() - interval '1 second'
    where batch_id = ${dead.batch_id}`;

  const [calls] = await sql`
    select identity_sync_private.calls_in_flight() as all, identity_sync_private.calls_in_flight('station:2') as second,
      identity_sync_private.calls_in_flight('station') as none`;
  expect({ ...calls }).toEqual({ all: '2', second: '1', none: '0' });
});
