// SIGTERM: the worker begins no call, finishes those in flight or gives them back, and is gone within about ten seconds.
import type postgres from 'postgres';
import { describe, expect } from 'vitest';
import { plan, tryToClaim, untilWaiting } from '../support/catalogue.js';
import { holdAnswers } from '../support/cli.js';
import { connect } from '../support/database.js';
import { freePort, runOf, shelveMany } from '../support/faults.js';
import { test as base } from '../support/test.js';

const test = base
  /** Five records on the shelf. */
  .extend('ids', ({ database }) => shelveMany(database.sql, 5))
  /** A worker with two calls in flight, which are not answered yet, and three batches that wait. */
  .extend('busy', async ({ database, lml, cli, ids }) => {
    const answers = holdAnswers(lml);
    const worker = await cli.worker();
    const runId = await plan(database.sql, { batch_size: 1 });
    await expect.poll(() => lml.calls.length).toBe(2);
    return { worker, runId, answers, ids };
  });

async function states(sql: postgres.Sql): Promise<string[]> {
  const batches = await sql`select state from identity_sync.batch order by batch_id`;
  return batches.map((batch) => batch.state);
}

describe('a worker that is asked to end', () => {
  test('finishes the calls in flight, and another one carries the rest at once', async ({
    database,
    lml,
    cli,
    busy,
  }) => {
    const { worker, answers, ids } = busy;
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    answers.letGo();

    expect(await worker.endsWithin(8000)).toMatchObject({ status: 0 });
    expect(lml.calls).toHaveLength(2);
    expect(await states(database.sql)).toEqual(['applied', 'applied', 'open', 'open', 'open']);
    expect(await runOf(database.sql)).toMatchObject({ outcome: null, stop_cause: null });
    // A lane waits in the queue, so that the run needs no rescue first.
    expect(await database.sql`select from graphile_worker.jobs where locked_at is null`).not.toEqual([]);

    await cli.worker();
    await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('completed');
    expect([...lml.askedIds()].sort()).toEqual(ids.map((id) => [id, 1]));
  });

  test('while LML is slow cuts its calls off in time, and gives their batches back', async ({
    database,
    lml,
    busy,
  }) => {
    const { worker, runId, ids } = busy;
    worker.signal('SIGTERM');

    expect(await worker.endsWithin(12_000)).toMatchObject({ status: 0 });
    expect(lml.calls.map((call) => call.status)).toEqual([null, null]);
    expect(await states(database.sql)).toEqual(ids.map(() => 'open'));
    const next = await tryToClaim(database.sql, runId, { concurrency: 1 });
    expect(JSON.parse(next!.request!).inputs).toMatchObject([{ library_id: ids[0] }]);
  });

  test('twice, cuts its calls off at once', async ({ database, lml, busy }) => {
    const { worker, ids } = busy;
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    worker.signal('SIGTERM');

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
    expect(lml.calls.map((call) => call.status)).toEqual([null, null]);
    expect(await states(database.sql)).toEqual(ids.map(() => 'open'));
  });

  test('with nothing to do ends at once, its probes too', async ({ cli }) => {
    const worker = await cli.worker({ HEALTH_PORT: await freePort() });
    worker.signal('SIGTERM');
    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
  });

  test('before it is up ends as soon as it is', async ({ database, cli }) => {
    const session = connect(database.url);
    await session`begin`;
    await session`lock table identity_sync.planning_hold`;
    const worker = cli.start(['worker']);
    await untilWaiting(database.sql);
    worker.signal('SIGTERM');
    await worker.says('finishing the batches in flight');
    await session`commit`;

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
  });

  test('whose lanes wait for their turn ends at once, and asks nothing', async ({
    database,
    lml,
    cli,
    ids: _,
  }) => {
    const runId = await plan(database.sql, { batch_size: 1 });
    for (const leased_by of ['elsewhere:1', 'elsewhere:2'])
      await tryToClaim(database.sql, runId, { leased_by });
    const worker = await cli.worker();
    await expect
      .poll(() => database.sql`select from graphile_worker.jobs where locked_by is not null`)
      .toHaveLength(2);
    worker.signal('SIGTERM');

    expect(await worker.endsWithin(5000)).toMatchObject({ status: 0 });
    expect(lml.calls).toEqual([]);
    expect(await states(database.sql)).toEqual(['in_flight', 'in_flight', 'open', 'open', 'open']);
  });
});
