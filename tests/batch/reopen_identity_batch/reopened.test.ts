import { beforeEach, expect, test } from 'vitest';
import { call, candidates, claim, plan, resolveAll, settle, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchOf, runOf } from '../../support/ledger.js';

const database = useDatabase();
let runId: string;
let claimed: { batch_id: string; request: string };

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  await shelveAll(database.sql, 'Autechre');
  runId = await plan(database.sql);
  claimed = await claim(database.sql, runId);
});

const reopen = () => database.sql`select identity_sync_private.reopen_identity_batch(${claimed.batch_id})`;

test('a batch can be claimed again, and its tries stay as they were', async () => {
  await reopen();
  expect(await batchOf(database.sql, claimed.batch_id)).toMatchObject({
    ...{ state: 'open', leased_by: null, leased_until: null, tries: 0, closed_at: null },
  });
  expect((await claim(database.sql, runId)).batch_id).toBe(claimed.batch_id);
});

test('in a run that is stopping it is abandoned, and the run ends with it', async () => {
  const before = await candidates(database.sql);
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'enough' });
  expect(await runOf(database.sql, runId)).toMatchObject({ finished_at: null });
  await reopen();
  expect(await batchOf(database.sql, claimed.batch_id)).toMatchObject({
    ...{ state: 'abandoned', is_done: false, closed_at: expect.any(Date) },
  });
  expect(await runOf(database.sql, runId)).toMatchObject({ outcome: 'stopped' });
  expect(await candidates(database.sql)).toEqual(before);
});

test('a batch that is closed stays closed', async () => {
  await settle(database.sql, claimed.batch_id, { body: resolveAll(claimed.request) });
  await reopen();
  expect(await batchOf(database.sql, claimed.batch_id)).toMatchObject({ state: 'applied' });
});
