import { beforeEach, expect, test } from 'vitest';
import { call, plan, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

beforeEach(() => database.sql`delete from identity_sync.planning_hold`);

const hold = () => database.sql`
  insert into identity_sync.planning_hold (name, reason)
  values ('brake', 'all unresolved'), ('key_refused', '401'), ('paused', 'by hand')
  on conflict do nothing`;

async function resume(name: string | null): Promise<string[]> {
  const [row] = await call<{ resume_identity_planning: string[] }>(database.sql, 'resume_identity_planning', {
    name,
  });
  return row!.resume_identity_planning;
}

test('lifts the hold that is named and no other, and the cron plans when the last one is gone', async () => {
  await shelve(database.sql, 'Autechre');
  await hold();

  expect(await resume('brake')).toEqual(['brake']);
  const holds = await database.sql`select name from identity_sync.planning_hold order by name`;
  expect([...holds]).toEqual([{ name: 'key_refused' }, { name: 'paused' }]);
  expect(await plan(database.sql, { scheduled: true })).toBeNull();

  expect(await resume('paused')).toEqual(['paused']);
  expect(await resume('key_refused')).toEqual(['key_refused']);
  expect(await resume('key_refused')).toEqual([]);
  expect(await plan(database.sql, { scheduled: true })).not.toBeNull();
});

test('lifts every hold where none is named', async () => {
  await hold();
  expect(await resume(null)).toEqual(['brake', 'key_refused', 'paused']);
  expect(await resume(null)).toEqual([]);
});

test('does not name a pause that ended by itself, and removes it', async () => {
  await database.sql`
    insert into identity_sync.planning_hold (name, reason, since, ends_at)
    values ('paused', 'by hand', now() - interval '2 hours', now() - interval '1 hour')`;
  expect(await resume(null)).toEqual([]);
  expect([...(await database.sql`select from identity_sync.planning_hold`)]).toEqual([]);
});

test('refuses a name that is none, and lifts nothing', async () => {
  await hold();
  await expect(resume('braek')).rejects.toMatchObject({ code: 'LS001', message: "name is 'braek'" });
  expect(await resume(null)).toHaveLength(3);
});
