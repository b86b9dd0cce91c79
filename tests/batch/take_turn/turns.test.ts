// Who gets a place in flight that came free, where lanes of several workers ask for it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { claim, plan, shelve, tryToClaim } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';

let database: TestDatabase;
let runId: string;

beforeEach(async () => {
  database = await cloneDatabase();
  await shelveMany(database.sql, 30);
  runId = await plan(database.sql, { batch_size: 1 });
});
afterEach(() => database.drop());

const OLD = { leased_by: 'old:1:1', concurrency: 1 };
const NEW = { leased_by: 'new:2:1', concurrency: 1 };

type Lane = Parameters<typeof tryToClaim>[2];

/** Asks for a batch; a worker that must wait goes on waiting, however slow this machine is. */
async function ask(lane: Lane): Promise<string | null> {
  const given = await tryToClaim(database.sql, runId, lane);
  await database.sql`
    update identity_sync.worker set asked_at = clock_timestamp() + interval '1 hour' where is_waiting`;
  return given!.batch_id;
}

/** Has a lane make so many calls, one after the other, and returns its last batch. */
async function makeCalls(lane: Lane, calls: number): Promise<string> {
  let { batch_id: answered } = await claim(database.sql, runId, lane);
  for (let made = 1; made < calls; made++) {
    answered = (await claim(database.sql, runId, { ...lane, answered })).batch_id;
  }
  return answered;
}

test('a worker that is ahead leaves it to one that waits, which has it until both are even', async () => {
  const first = await makeCalls(OLD, 5);
  expect(await ask(NEW)).toBeNull();

  expect(await ask({ ...OLD, answered: first })).toBeNull();
  const second = await ask(NEW);
  expect(second).not.toBeNull();
  expect(await ask(OLD)).toBeNull();
  expect(await ask({ ...NEW, answered: second! })).not.toBeNull();
});

test('a worker that joins is two calls behind the one that is ahead, whatever was made before', async () => {
  await makeCalls(OLD, 5);
  await ask(NEW);
  const fleet = await database.sql`select name, turns, is_waiting from identity_sync.worker order by turns`;
  expect([...fleet]).toEqual([
    { name: 'new:2', turns: '3', is_waiting: true },
    { name: 'old:1', turns: '5', is_waiting: false },
  ]);
});

test('a worker that joins late makes every second call from then on, and no more', async () => {
  let answered = { lane: OLD, batch: await makeCalls(OLD, 12) };
  await ask(NEW);
  const made = new Map([
    [OLD, 0],
    [NEW, 0],
  ]);
  for (let calls = 0; calls < 12; ) {
    for (const lane of [OLD, NEW]) {
      const batch = await ask(answered.lane === lane ? { ...lane, answered: answered.batch } : lane);
      if (batch === null) continue;
      answered = { lane, batch };
      made.set(lane, made.get(lane)! + 1);
      calls += 1;
    }
  }
  // Two behind at first, at most two ahead at last.
  expect(Math.abs(made.get(OLD)! - made.get(NEW)!)).toBeLessThanOrEqual(4);
});

describe('a worker keeps it', () => {
  test('where the other one has died and waits no more', async () => {
    const answered = await makeCalls(OLD, 5);
    expect(await ask(NEW)).toBeNull();
    await database.sql`
      update identity_sync.worker set asked_at = clock_timestamp() - interval '1 second' where is_waiting`;
    expect(await ask({ ...OLD, answered })).not.toBeNull();
  });

  test('where the other one allows fewer calls in flight than there are', async () => {
    const [first, second] = [OLD, { ...OLD, leased_by: 'old:1:2' }].map((lane) => ({
      ...lane,
      concurrency: 2,
    }));
    await makeCalls(second!, 5);
    const answered = await makeCalls(first!, 5);
    expect(await ask(NEW)).toBeNull();

    expect(await ask({ ...first!, answered })).not.toBeNull();
  });

  test('where no batch is due that the other one could have', async () => {
    const other = await plan(database.sql, { scope: 'ids', ids: [await shelve(database.sql, 'Sessa')] });
    await claim(database.sql, other, { leased_by: 'third:3:1' });
    const answered = await makeCalls({ ...OLD, concurrency: 2 }, 5);
    expect(await tryToClaim(database.sql, other, NEW)).toMatchObject({ batch_id: null });

    expect(await ask({ ...OLD, concurrency: 2, answered })).not.toBeNull();
  });
});
