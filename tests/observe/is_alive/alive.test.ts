import { expect, test } from 'vitest';
import { plan, shelveAll } from '../../support/catalogue.js';
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
      row('station:1', 0, 2, false, clock_timestamp() - ${asked}::interval, '0.1.0', '17 3 * * *',
        clock_timestamp() - ${seen}::interval)::identity_sync.worker) as is_alive`;
  expect(row!.is_alive).toBe(isAlive);
});

test('a process that plans nothing lives as long as a run is open', async () => {
  const alive = async () => {
    const [row] = await database.sql`
      select identity_sync_private.is_alive(
        row('station:1', 0, 2, false, clock_timestamp(), '0.1.0', null, null)::identity_sync.worker) as is_alive`;
    return row!.is_alive;
  };
  expect(await alive()).toBe(false);
  await shelveAll(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  expect(await alive()).toBe(true);
  await database.sql`select identity_sync.stop_identity_run(run_id => ${runId}, reason => 'by hand')`;
  expect(await alive()).toBe(false);
});
