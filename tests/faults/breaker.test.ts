// LML is down for everything: the run pauses instead of burning through the catalogue, and stops in the end.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates } from '../support/catalogue.js';
import { killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { endPause, identified, reportOf, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

/** Starts a run of batches of one record, one after another, each tried once. */
const start = () =>
  startCli(['run'], {
    DATABASE_URL: database.url,
    LIBRARY_METADATA_URL: lml.url,
    BATCH_SIZE: '1',
    LML_CONCURRENCY: '1',
    LML_MAX_TRIES: '1',
  });

/** Waits until the run has paused for the nth time, which must be for about so many seconds. */
async function pausedFor(pauses: number, seconds: number) {
  await expect
    .poll(async () => await runOf(database.sql))
    .toMatchObject({ pauses, paused_for: expect.any(Number) });
  const { paused_for } = await runOf(database.sql);
  expect(paused_for).toBeGreaterThan(seconds - 10);
  expect(paused_for).toBeLessThanOrEqual(seconds);
}

test('a run whose last three batches failed pauses, for longer each time, and after four pauses without a change it stops', async () => {
  const ids = await shelveMany(database.sql, 9);
  lml.respondWith(() => ({ status: 503 }));
  const running = start();

  for (const [index, seconds] of [30, 60, 120, 240].entries()) {
    await pausedFor(index + 1, seconds);
    expect(lml.calls).toHaveLength(3 + index);
    await endPause(database.sql);
  }

  const ended = await running.ended;
  expect(ended.status).toBe(1);
  expect(lml.calls).toHaveLength(7);
  expect(await runOf(database.sql)).toMatchObject({ outcome: 'failed', stop_cause: 'breaker' });
  expect(logOf(ended).at(-1)!.msg).toContain('batch after batch fails, the last one: LML answered 503');
  expect(await reportOf(database.sql)).toMatchObject({ failed_batches: 7, left: 9 });
  expect(await candidates(database.sql)).toEqual(ids);
});

test('a database that takes no answer pauses the run as well, instead of burning through the catalogue', async () => {
  const ids = await shelveMany(database.sql, 12);
  await database.sql.unsafe(`
    create function public.disk_full() returns trigger language plpgsql as $$
    begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
    create trigger disk_full before insert on wxyc_schema.library_identity
    for each row execute function public.disk_full()`);
  const running = start();
  await pausedFor(1, 30);
  // The call that was in flight when the third batch failed ends as the others did; no other begins.
  const inFlight = () => database.sql`select from identity_sync.batch where leased_by is not null`;
  await expect.poll(inFlight).toHaveLength(0);
  const { failed_batches: failed, rows_skipped } = await reportOf(database.sql);
  expect([3, 4]).toContain(failed);
  expect(rows_skipped).toMatchObject({ writer_error: failed });

  await database.sql`drop trigger disk_full on wxyc_schema.library_identity`;
  await endPause(database.sql);
  expect(await running.ended).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ outcome: 'failed', stop_cause: null, pauses: 0 });
  expect(await candidates(database.sql)).toEqual(ids.slice(0, failed));
});

test('a success makes it forget the failures before', async () => {
  const ids = await shelveMany(database.sql, 11);
  // Two failures are no reason to pause; after three, a success; after three more, a first pause again.
  const failing = [0, 1, 3, 4, 5, 7, 8, 9].map((index) => ids[index]!);
  lml.respondWith(({ inputs: [input] }) =>
    failing.includes(input!.library_id) ? { status: 503 } : undefined,
  );
  const running = start();

  for (const calls of [6, 10]) {
    await expect.poll(() => lml.calls.length).toBe(calls);
    await pausedFor(1, 30);
    expect(lml.calls).toHaveLength(calls);
    await endPause(database.sql);
  }

  expect(await running.ended).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ outcome: 'failed', stop_cause: null });
  expect(await identified(database.sql)).toEqual([ids[2], ids[6], ids[10]]);
  expect(await candidates(database.sql)).toEqual(failing);
});
