// A session's isolation and timeouts are named where a run would suffer from them, and only there.
import { expect, test } from 'vitest';
import { connect, useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['statement_timeout', '0', null],
  ['statement_timeout', '59999', 'statement_timeout = 59999ms'],
  ['statement_timeout', '1min', null],
  ['idle_session_timeout', '1h', 'idle_session_timeout = 1h'],
  ['default_transaction_isolation', 'repeatable read', 'default_transaction_isolation = repeatable read'],
  ['lock_timeout', '1s', null],
])('%s = %s', async (name, value, named) => {
  const sql = connect(database.url);
  await sql`select set_config(${name}, ${value}, false)`;
  const [row] = await sql`select identity_sync_private.unsuitable_settings() as named`;
  expect(row!.named).toBe(named);
});
