import { expect, test } from 'vitest';
import { call, claim, plan } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';

const database = useDatabase();

test('forgets a worker that has asked for nothing for so many days, and no other', async () => {
  await shelveMany(database.sql, 2);
  const runId = await plan(database.sql, { batch_size: 1 });
  for (const leased_by of ['gone:1:1', 'here:2:1']) await claim(database.sql, runId, { leased_by });
  await database.sql`
    update identity_sync.worker set asked_at = asked_at - interval '31 days' where name = 'gone:1'`;

  await call(database.sql, 'prune_identity_sync', { keep_days: 30 });
  const workers = await database.sql`select name from identity_sync.worker`;
  expect(workers.map((worker) => worker.name)).toEqual(['here:2']);
});
