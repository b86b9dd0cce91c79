// A run is silent from the time on at which a lane could have moved it.
import { expect } from 'vitest';
import { claim, plan, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('a batch that no lane has ever claimed is waited for, whatever another lane holds', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre', 'Stereolab');
  const runId = await plan(sql, { batch_size: 1 });
  const lanes = async () => {
    const [row] = await sql`
      select identity_sync.identity_health('1 day', '2 minutes', clock_timestamp()) -> 'lanes' as lanes`;
    return row!.lanes;
  };
  const anHourAgo = () => sql`
    with run as (update identity_sync.run set started_at = started_at - interval '1 hour')
    update identity_sync.lml_call set started_at = started_at - interval '1 hour'`;
  await claim(sql, runId, { lease_ms: 600_000, concurrency: 2 });
  await anHourAgo();
  expect(await lanes()).toMatchObject({ ok: false, open_runs: 1 });

  await claim(sql, runId, { lease_ms: 600_000, concurrency: 2 });
  await anHourAgo();
  expect(await lanes()).toMatchObject({ ok: true, open_runs: 1 });
});

test('the call of another run, which is over, is no sign of life of this one', async ({
  database: { sql },
}) => {
  await shelveAll(sql, 'Autechre');
  const over = await plan(sql);
  await claim(sql, over);
  await sql`select identity_sync.stop_identity_run(${over}::bigint, 'enough')`;
  await sql`update identity_sync.batch set leased_until = clock_timestamp() - interval '1 second'`;
  await sql`select identity_sync.rescue_identity_runs(1)`;

  await claim(sql, await plan(sql));
  await sql`
    with call as (
      update identity_sync.lml_call set started_at = started_at - interval '1 hour'
      where batch_id = (select max(batch_id) from identity_sync.batch)
    ), batch as (
      update identity_sync.batch set leased_until = leased_until - interval '1 hour' where closed_at is null
    )
    update identity_sync.run set started_at = started_at - interval '1 hour' where finished_at is null`;

  const [row] = await sql`
    select identity_sync.identity_health('1 day', '2 minutes', clock_timestamp()) -> 'lanes' as lanes`;
  expect(row!.lanes).toMatchObject({ ok: false, open_runs: 1 });
});
