// Three failures in a row: the run pauses, for longer each time, and stops in the end.
import { beforeEach, expect, test } from 'vitest';
import { claim, plan, resolveAll, settle } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';
import { runOf } from '../../support/ledger.js';

const database = useDatabase();
let runId: string;

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run, identity_sync.attempt cascade`;
  await shelveMany(database.sql, 16);
  runId = await plan(database.sql, { batch_size: 1 });
});

/** The next batch comes to this end. */
async function next(end: 'answer' | 404 | 422): Promise<void> {
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, end === 'answer' ? { body: resolveAll(request) } : { status: end });
}

/** Ends the pause, where there is one, and returns for how many seconds it was set. */
async function endPause(): Promise<number | null> {
  const [run] = await database.sql`
    select extract(epoch from paused_until - clock_timestamp())::float8 as seconds
    from identity_sync.run where run_id = ${runId}`;
  await database.sql`update identity_sync.run set paused_until = clock_timestamp() where run_id = ${runId}`;
  return run!.seconds;
}

test('pauses for 30, 60, 120 and 240 seconds, and stops at the fifth time', async () => {
  await next(404);
  await next(404);
  expect(await endPause()).toBeNull();
  for (const seconds of [30, 60, 120, 240]) {
    await next(404);
    const paused = await endPause();
    expect(paused).toBeGreaterThan(seconds - 5);
    expect(paused).toBeLessThanOrEqual(seconds);
  }
  await next(404);
  expect(await runOf(database.sql, runId)).toMatchObject({
    ...{ stop_cause: 'breaker', outcome: 'failed' },
    outcome_reason: 'batch after batch fails, the last one: LML answered 404: no words',
  });
});

test.each(['answer', 422] as const)('counts from the latest batch that did not fail: %s', async (success) => {
  for (const end of [404, 404, success, 404, 404] as const) await next(end);
  expect(await runOf(database.sql, runId)).toMatchObject({ pauses: 0, paused_until: null });
  await next(404);
  expect(await runOf(database.sql, runId)).toMatchObject({ pauses: 1 });
});
