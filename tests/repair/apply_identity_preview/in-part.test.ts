// Of a dry run some libraries can be applied, and the others later.
import { expect, test } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { identified } from '../../support/faults.js';

const database = useDatabase();

const apply = async (run_id: string, ids: number[] | null = null) => {
  const [row] = await call<{ report: object }>(database.sql, 'apply_identity_preview', { run_id, ids });
  return Object.values(row!)[0];
};

test('only the ids that are named are written, over all batches, and one that was not previewed is refused', async () => {
  const ids = await shelveAll(database.sql, 'Stereolab', 'Broadcast', 'Pram', 'Plone');
  const [one, two, three, stranger] = ids;
  const runId = await plan(database.sql, {
    scope: 'ids',
    ids: [one, two, three],
    batch_size: 2,
    dry_run: true,
  });
  for (const answered of [[one, two], [three]]) {
    const { batch_id } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: answerOf(answered.map((id) => verdict.resolved(id))) });
  }

  await expect(apply(runId, [one, stranger])).rejects.toMatchObject({
    code: 'LS001',
    message: expect.stringContaining(String(stranger)),
  });
  expect(await identified(database.sql)).toEqual([]);

  expect(await apply(runId, [one, three])).toMatchObject({ scanned: 2, rows_resolved: 2 });
  expect(await identified(database.sql)).toEqual([one, three]);

  expect(await apply(runId)).toMatchObject({ scanned: 3, identity: { inserted: 1, unchanged: 2 } });
});
