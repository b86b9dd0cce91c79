// A pause keeps the cron from planning, and nothing else, until it is lifted or its time is over.
import { beforeEach, expect, test } from 'vitest';
import { call, plan, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

beforeEach(() => database.sql`delete from identity_sync.planning_hold`);

const pause = (args: { reason?: string | null; until?: Date | string | null }) =>
  call(database.sql, 'pause_identity_planning', { reason: 'LML moves', until: null, ...args });
const holds = async () => [...(await database.sql`select name, reason from identity_sync.planning_hold`)];

test('the cron plans nothing until it is lifted, and a run by hand is planned as ever', async () => {
  await shelve(database.sql, 'Autechre');
  await pause({});

  expect(await plan(database.sql, { scheduled: true })).toBeNull();
  expect(await plan(database.sql)).not.toBeNull();
  expect(await holds()).toEqual([
    { name: 'paused', reason: expect.stringMatching(/^paused by \S+: LML moves$/) },
  ]);
});

test('with a time it ends by itself', async () => {
  await shelve(database.sql, 'Autechre');
  await pause({ until: new Date(Date.now() + 3_600_000) });
  expect(await plan(database.sql, { scheduled: true })).toBeNull();

  await database.sql`update identity_sync.planning_hold set ends_at = clock_timestamp() - interval '1 second'`;
  expect(await plan(database.sql, { scheduled: true })).not.toBeNull();
});

test('the later pause replaces the one before', async () => {
  await pause({ reason: 'first', until: new Date(Date.now() + 3_600_000) });
  await pause({ reason: 'second' });
  expect(await holds()).toEqual([{ name: 'paused', reason: expect.stringMatching(/: second$/) }]);
  const [{ ends_at }] = await database.sql<[{ ends_at: Date | null }]>`
    select ends_at from identity_sync.planning_hold`;
  expect(ends_at).toBeNull();
});

test.each([
  ['no reason', { reason: null }, 'reason is NULL'],
  ['an empty reason', { reason: '  ' }, "reason is '  '"],
  ['a time that is past', { until: new Date(Date.now() - 1000) }, /^until is 2/],
])('%s is refused, and nothing is paused', async (_, args, message) => {
  await expect(pause(args)).rejects.toMatchObject({ code: 'LS001', message: expect.stringMatching(message) });
  expect(await holds()).toEqual([]);
});
