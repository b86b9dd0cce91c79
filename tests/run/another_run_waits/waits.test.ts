// A lane without a place in flight ends where another run has no lane at all, so that its process can carry that one.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { call, claim, plan, shelve, tryToClaim } from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';

let database: TestDatabase;
let carried: string;
let waiting: string;

const FULL = { concurrency: 1 };

beforeEach(async () => {
  database = await cloneDatabase();
  await shelveMany(database.sql, 3);
  carried = await plan(database.sql, { batch_size: 1 });
  waiting = await plan(database.sql, { scope: 'ids', ids: [await shelve(database.sql, 'Sessa')] });
  await claim(database.sql, carried, { leased_by: 'host:1:1', ...FULL });
});
afterEach(() => database.drop());

const spareLane = () => tryToClaim(database.sql, carried, { leased_by: 'host:1:2', ...FULL });

test('a spare lane ends where another run has a batch that is due and no lane', async () => {
  expect(await spareLane()).toBeUndefined();
});

test('a lane that has a place goes on', async () => {
  expect(await claim(database.sql, carried, { leased_by: 'host:1:2', concurrency: 2 })).toBeTruthy();
});

test.each([
  ['is carried already', () => claim(database.sql, waiting, { leased_by: 'host:2:1', concurrency: 2 })],
  [
    'pauses',
    () =>
      database.sql`update identity_sync.run set paused_until = now() + interval '1 h' where run_id = ${waiting}`,
  ],
  [
    'tries its batch again later',
    () =>
      database.sql`update identity_sync.batch set not_before = now() + interval '1 h' where run_id = ${waiting}`,
  ],
  ['is over', () => call(database.sql, 'stop_identity_run', { run_id: waiting, reason: 'by hand' })],
])('a spare lane waits for its turn where the other run %s', async (_, change) => {
  await change();
  expect(await spareLane()).toMatchObject({ batch_id: null, wait_ms: 100 });
});
