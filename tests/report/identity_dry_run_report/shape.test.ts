import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('is the locked shape: a report of the writer, which knows of no calls, had none', async () => {
  const [{ report }] = await database.sql<[{ report: { rows_skipped: object } }]>`
    select identity_sync_private.empty_report() || '{"scanned": 7, "rows_resolved": 4, "rows_unresolved": 3}' as report`;
  const [row] = await call<{ identity_dry_run_report: object }>(database.sql, 'identity_dry_run_report', {
    report: JSON.parse(JSON.stringify(report)),
  });
  expect(row!.identity_dry_run_report).toEqual({
    scanned: 7,
    lml_total_calls: 0,
    lml_total_latency_ms: 0,
    would_resolve: 4,
    would_resolve_compilation: 0,
    would_unresolved: 3,
    would_skip: report.rows_skipped,
    source_rows_skipped_null_confidence: 0,
  });
});
