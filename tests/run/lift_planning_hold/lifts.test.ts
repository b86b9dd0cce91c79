import { expect, test } from 'vitest';
import { call, plan, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('lifts the hold that is named and no other, and the cron plans when the last one is gone', async () => {
  await shelve(database.sql, 'Autechre');
  await database.sql`
    insert into identity_sync.planning_hold (name, reason) values ('brake', 'all unresolved'), ('key_refused', '401')`;

  await call(database.sql, 'lift_planning_hold', { name: 'brake' });
  const holds = await database.sql`select name from identity_sync.planning_hold`;
  expect([...holds]).toEqual([{ name: 'key_refused' }]);
  expect(await plan(database.sql, { scheduled: true })).toBeNull();

  await call(database.sql, 'lift_planning_hold', { name: 'key_refused' });
  await call(database.sql, 'lift_planning_hold', { name: 'key_refused' });
  expect(await plan(database.sql, { scheduled: true })).not.toBeNull();
});
