import { expect, test } from 'vitest';
import { call, claim, plan, resolveAll, settle, shelveAll, tryToClaim } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();

const progressOf = (runId: string) => call(database.sql, 'identity_run_progress', { run_id: runId });

test('a row is done when it was answered, named as poison, failed or no longer there; a cut alone is not', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power', 'Juana Molina');
  const runId = await plan(database.sql, { batch_size: 2 });
  const { trace_id } = await runOf(database.sql, runId);
  const done = async () => {
    const [progress] = await progressOf(runId);
    expect(progress).toMatchObject({ planned: 5, trace_id });
    return (progress as { done: number }).done;
  };

  const [cut, failed] = [await claim(database.sql, runId), await claim(database.sql, runId)];
  expect(await done()).toBe(0);
  await settle(database.sql, cut.batch_id, { status: 422 });
  expect(await done()).toBe(0);
  await settle(database.sql, failed.batch_id, { status: 404 });
  expect(await done()).toBe(2);

  await database.sql`delete from wxyc_schema.library where id = ${ids[4]}`;
  const poisoned = await claim(database.sql, runId);
  expect(await done()).toBe(3);
  await settle(database.sql, poisoned.batch_id, { status: 422 });
  expect(await done()).toBe(4);
  const answered = await claim(database.sql, runId);
  await settle(database.sql, answered.batch_id, { body: resolveAll(answered.request) });

  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  expect(await progressOf(runId)).toEqual([{ planned: 5, done: 5, finished_at: expect.any(Date), trace_id }]);
});

test('an unknown run has none', async () => {
  expect(await progressOf('987654321')).toEqual([]);
});
