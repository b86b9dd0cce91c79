// Every hold in force is shown with what cures it; one that has ended by itself is none.
import { expect } from 'vitest';
import { plan } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { undo } from '../../support/undo.js';

test('each hold names its cures, to look before to act', async ({ database: { sql } }) => {
  await sql`
    insert into identity_sync.planning_hold (name, reason, run_id, gauge, share, since, ends_at) values
      ('brake', 'run 7: another artist', 7, 'changed', 0.26, '2026-11-27T03:21Z', null),
      ('key_refused', 'LML refuses the key', 7, null, null, '2026-11-27T03:20Z', null),
      ('paused', 'a deploy', null, null, null, '2026-11-27T03:19Z', clock_timestamp() - interval '1 second')`;

  const [row] = await sql`select identity_sync_private.planning_holds() as holds`;
  const commands = row!.holds.map(({ name, cures }: { name: string; cures: { command: string }[] }) => [
    name,
    cures.map(({ command }) => command),
  ]);
  expect(commands).toEqual([
    [
      'brake',
      [
        'identity-sync diff --run 7',
        'identity-sync undo --run 7',
        'identity-sync run',
        'identity-sync run --accept changed',
      ],
    ],
    ['key_refused', ['identity-sync run', 'identity-sync worker']],
  ]);
});

test('what the brake left is not offered to be taken back once that is done, until it was taken back itself', async ({
  database: { sql },
}) => {
  const run = await plan(sql);
  await sql`
    insert into identity_sync.planning_hold (name, reason, run_id, gauge, share)
    values ('brake', 'another artist', ${run}, 'changed', 0.26)`;
  const offersUndo = async () => {
    const [row] = await sql`select identity_sync_private.planning_holds() as holds`;
    return JSON.stringify(row!.holds).includes(`undo --run ${run}`);
  };
  expect(await offersUndo()).toBe(true);
  await undo(sql, run, []);
  expect(await offersUndo()).toBe(true);
  const { run_id } = await undo(sql, run);
  expect(await offersUndo()).toBe(false);
  await undo(sql, run_id as number);
  expect(await offersUndo()).toBe(true);
});

test('no hold is an empty list, and each name that a hold may have has its cures', async ({
  database: { sql },
}) => {
  const cures = async () => {
    const [row] = await sql`
      select jsonb_path_query_array(identity_sync_private.planning_holds(), '$[*].cures[last].command') as last`;
    return row!.last;
  };
  expect(await cures()).toEqual([]);
  await sql`
    insert into identity_sync.planning_hold (name, reason, run_id, since) values
      ('brake', 'run 7: nearly all unresolved', 7, '2026-11-27T03:21Z'), ('paused', 'a deploy', null, '2026-11-27')`;
  expect(await cures()).toEqual(['identity-sync run --accept unresolved', 'identity-sync resume paused']);
});
