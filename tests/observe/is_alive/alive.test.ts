import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each<[string, string | null, boolean]>([
  ['1 hour', '12 seconds', true],
  ['12 seconds', '1 hour', true],
  ['12 seconds', null, true],
  ['30 seconds', '30 seconds', false],
  ['30 seconds', null, false],
])('a worker that asked %s ago and was seen %s ago lives: %s', async (asked, seen, isAlive) => {
  const [row] = await database.sql`
    select identity_sync_private.is_alive(
      row('station:1', 0, 2, false, clock_timestamp() - ${asked}::interval, '0.1.0', null,
        clock_timestamp() - ${seen}::interval)::identity_sync.worker) as is_alive`;
  expect(row!.is_alive).toBe(isAlive);
});
