import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('holds zeros only, and adds up as the report of nothing', async () => {
  const [row] = await database.sql`
    with report as (select identity_sync_private.empty_report() as report)
    select
      report = identity_sync_private.add_reports(report, report) as is_zero,
      identity_sync_private.report_adds_up(report, 0, 0) as adds_up
    from report`;
  expect(row).toEqual({ is_zero: true, adds_up: true });
});
