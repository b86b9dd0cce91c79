// Three failures in a row: the run pauses, for longer each time, and stops in the end.
import { beforeEach, expect, test } from 'vitest';
import { call, claim, plan, resolveAll, settle } from '../../support/catalogue.js';
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

test('failures of the database that are given up batch by batch count like those of LML', async () => {
  for (const pauses of [0, 0, 1]) {
    const { batch_id } = await claim(database.sql, runId);
    await call(database.sql, 'fail_identity_batch', {
      ...{ batch_id, failure: 'could not extend file', counted_as: 'writer_error', leased_by: 'lane' },
    });
    expect(await runOf(database.sql, runId)).toMatchObject({ pauses });
  }
  expect(await endPause()).toBeGreaterThan(25);
  for (let pause = 2; pause <= 5; pause++) {
    const { batch_id } = await claim(database.sql, runId);
    await call(database.sql, 'fail_identity_batch', {
      ...{ batch_id, failure: 'could not extend file', counted_as: 'writer_error', leased_by: 'lane' },
    });
    await endPause();
  }
  expect(await runOf(database.sql, runId)).toMatchObject({
    ...{ stop_cause: 'breaker', outcome: 'failed' },
    outcome_reason: 'batch after batch fails, the last one: could not extend file',
  });
});

test('a batch with nothing to request proves nothing: it does not end the row of failures', async () => {
  await next(404);
  await next(404);
  await database.sql`
    update wxyc_schema.library set artist_name = ' '
    where id = (select library_ids[1] from identity_sync.batch where state = 'open' order by batch_id limit 1)`;
  await next(404);
  expect(await runOf(database.sql, runId)).toMatchObject({ pauses: 1 });
});

test.each(['answer', 422] as const)('counts from the latest batch that did not fail: %s', async (success) => {
  for (const end of [404, 404, success, 404, 404] as const) await next(end);
  expect(await runOf(database.sql, runId)).toMatchObject({ pauses: 0, paused_until: null });
  await next(404);
  expect(await runOf(database.sql, runId)).toMatchObject({ pauses: 1 });
});
