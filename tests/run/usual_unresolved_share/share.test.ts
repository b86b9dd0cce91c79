// The usual share is that of earlier runs over what was due: no rehearsal, no recheck, and none that the brake stopped.
import { expect, test } from 'vitest';
import { plan } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

/** A run over, of which so many of a hundred rows were unresolved. */
async function past(seen: number, changes: { scope?: string; dry_run?: boolean; braked_by?: string } = {}) {
  const { scope = 'due', dry_run = false, braked_by = null } = changes;
  const runId = await plan(database.sql, { scope, dry_run });
  await database.sql`
    update identity_sync.run
    set braked_by = ${braked_by}::text, braked_at = case when ${braked_by}::text is not null then now() end
    where run_id = ${runId}`;
  await database.sql`
    insert into identity_sync.settlement
      (run_id, origin, verified_at, requested, unrequested, report, unresolved_counted, unresolved_seen)
    values (${runId}, 'consumer:lml-bulk', now(), 0, 0,
      identity_sync_private.empty_report(), 100, ${seen})`;
  return runId;
}

async function shareBefore(runId: string): Promise<number | null> {
  const [row] = await database.sql`
    select identity_sync_private.usual_unresolved_share(${runId}) as share`;
  return row!.share === null ? null : Number(row!.share);
}

test('counts the rows of real runs over what was due, before this one', async () => {
  const first = await past(30);
  expect(await shareBefore(first)).toBeNull();
  await past(50, { scope: 'refresh' });
  await past(100, { braked_by: 'unresolved' });
  await past(100, { dry_run: true });
  await past(100, { scope: 'recheck' });
  const last = await past(90);
  expect(await shareBefore(last)).toBe(0.4);
});
