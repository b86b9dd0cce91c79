import { expect, test } from 'vitest';
import { plan, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['lml_error', false],
  ['writer_error', true],
])('counts each row of the batch once, as %s, in a settlement without an answer', async (key, dryRun) => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  const runId = await plan(database.sql, { scope: 'ids', ids, dry_run: dryRun });
  const [row] = await database.sql`
    select identity_sync_private.record_unanswered_batch(batch_id, ${key}) as settlement_id
    from identity_sync.batch where run_id = ${runId}`;

  const [settlement] = await database.sql`
    select settlement.*, report from identity_sync.settlement where settlement_id = ${row!.settlement_id}`;
  expect(settlement).toMatchObject({
    ...{ run_id: runId, dry_run: dryRun, is_answer: false, origin: 'consumer:lml-bulk' },
    ...{ requested: 3, unrequested: 0, inserted_ids: [], history_ids: [] },
    report: { scanned: 3, rows_resolved: 0, rows_skipped: { [key]: 3 } },
  });
});

test('a library that has gone counts as that, whatever became of the others', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  const runId = await plan(database.sql, { scope: 'ids', ids });
  await database.sql`delete from wxyc_schema.library where id = ${ids[1]}`;
  const [row] = await database.sql`
    select identity_sync_private.record_unanswered_batch(batch_id, 'lml_error') as settlement_id
    from identity_sync.batch where run_id = ${runId}`;

  const [settlement] = await database.sql`
    select report from identity_sync.settlement where settlement_id = ${row!.settlement_id}`;
  expect(settlement!.report).toMatchObject({ scanned: 3, rows_skipped: { lml_error: 2, library_gone: 1 } });
});
