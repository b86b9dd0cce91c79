// No call of an operator hangs for ever behind a session that was left open.
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { useRoles } from '../support/roles.js';

const roles = useRoles();
const database = useDatabase();

test('every function that an operator calls and that writes waits for a lock for a bounded time', async () => {
  await roles.run(database.url);
  const operators = await database.sql`
    select proname as name, coalesce(array_to_string(proconfig, ' '), '') ~ 'lock_timeout=[1-9]' as is_bounded
    from pg_proc
    where pronamespace = 'identity_sync'::regnamespace
      and provolatile = 'v'
      and has_function_privilege(${roles.operator}, oid, 'execute')
    order by proname`;
  expect(operators.length).toBeGreaterThan(3);
  expect(operators.filter(({ is_bounded }) => !is_bounded).map(({ name }) => name)).toEqual([]);
});
