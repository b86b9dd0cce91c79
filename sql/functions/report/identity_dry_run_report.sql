-- The locked shape of a dry run's report, which scripts read. It renames keys of a report and leaves some out; a report
-- of verdicts from a file counts no calls.
create or replace function identity_sync.identity_dry_run_report(report jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'scanned', report -> 'scanned',
    'lml_total_calls', coalesce(report -> 'lml_total_calls', '0'),
    'lml_total_latency_ms', coalesce(report -> 'lml_total_latency_ms', '0'),
    'would_resolve', report -> 'rows_resolved',
    'would_resolve_compilation', report -> 'rows_resolved_compilation',
    'would_unresolved', report -> 'rows_unresolved',
    'would_skip', report -> 'rows_skipped',
    'source_rows_skipped_null_confidence', report -> 'source_rows_skipped_null_confidence'
  );
$$;

revoke all on function identity_sync.identity_dry_run_report(jsonb) from public;

comment on function identity_sync.identity_dry_run_report(jsonb) is
  'Takes a report of a run or of the writer; returns it in the locked shape of a dry run.';
