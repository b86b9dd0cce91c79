import { expect, test } from 'vitest';
import { call, plan } from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();

const take = (sql = database.sql) =>
  call<{ run_id: string; trace_id: string; scheduled: boolean; report: object }>(sql, 'take_unreported_runs');

test('each finished run is handed out once, with what is needed to report it', async () => {
  const runId = await plan(database.sql, { scheduled: true });
  const { trace_id } = await runOf(database.sql, runId);
  const other = connect(database.url);
  const taken = (await Promise.all([take(), take(other)])).flat();

  expect(taken).toEqual([
    { run_id: runId, trace_id, scheduled: true, report: expect.objectContaining({ outcome: 'completed' }) },
  ]);
  expect((await runOf(database.sql, runId)).reported_at).toBeInstanceOf(Date);
  expect(await take()).toEqual([]);
});

test('a run that ended more than a day ago is not handed out, since no one waits for it any more', async () => {
  const runId = await plan(database.sql);
  await database.sql`
    update identity_sync.run set finished_at = finished_at - interval '25 hours' where run_id = ${runId}`;
  expect(await take()).toEqual([]);
});
