// No call hangs for ever behind a session that was left open.
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const database = useDatabase();

test('every public function that writes waits for a lock for a bounded time', async () => {
  const writing = await database.sql`
    select proname as name, coalesce(array_to_string(proconfig, ' '), '') ~ 'lock_timeout=[1-9]' as is_bounded
    from pg_proc
    where pronamespace = 'identity_sync'::regnamespace and provolatile = 'v'
    order by proname`;
  expect(writing.length).toBeGreaterThan(15);
  expect(writing.filter(({ is_bounded }) => !is_bounded).map(({ name }) => name)).toEqual([]);
});
