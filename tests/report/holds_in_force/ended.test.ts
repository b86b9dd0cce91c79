// A pause that has reached its end is no hold any more, in any view.
import { expect } from 'vitest';
import { plan, shelve } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('a pause that ended by itself holds nothing, and nothing says that it does', async ({
  database: { sql },
}) => {
  await sql`
    insert into identity_sync.planning_hold (name, reason, since, ends_at)
    values ('paused', 'a deploy', now() - interval '2 hours', now() - interval '1 hour')`;
  const [said] = await sql`
    select
      identity_sync.identity_metrics() -> 'planning_holds' as metrics,
      jsonb_path_query_array(identity_sync.identity_check('{}'), '$[*] ? (@.check == "planning")') as checks,
      identity_sync.identity_health('1 day', '1 day', now())::text as health,
      identity_sync.identity_status() #> '{planning,holds}' as status,
      (select count(*)::integer from identity_sync.take_identity_alerts()) as alerts`;
  expect(said).toMatchObject({
    metrics: { paused: 0, key_refused: 0, brake: 0 },
    checks: [],
    health: expect.not.stringContaining('paused'),
    status: [],
    alerts: 0,
  });
  await shelve(sql, 'Autechre');
  expect(await plan(sql, { scheduled: true })).not.toBeNull();
});

test('a hold without an end, and a pause before its end, are in force', async ({ database: { sql } }) => {
  await sql`
    insert into identity_sync.planning_hold (name, reason, ends_at)
    values ('brake', 'all unresolved', null), ('paused', 'a deploy', now() + interval '1 hour')`;
  const holds = await sql`select name from identity_sync_private.holds_in_force() order by name`;
  expect(holds.map(({ name }) => name)).toEqual(['brake', 'paused']);
});
