-- Makes the report of a settlement out of its outcomes, so that no counter can say what was not recorded.
-- What was left out of a verdict's sources counts only where the verdict was written.
create or replace function identity_sync_private.build_report(written identity_sync_private.write_result)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  reached record;
  skipped jsonb;
begin
  select
    count(*) as scanned,
    count(*) filter (where verdict.outcome = 'resolved') as resolved,
    count(*) filter (where verdict.outcome = 'resolved_compilation') as resolved_compilation,
    count(*) filter (where verdict.outcome = 'unresolved') as unresolved,
    count(*) filter (where verdict.action = 'inserted') as inserted,
    count(*) filter (where verdict.action = 'changed') as changed,
    count(*) filter (where verdict.action = 'unchanged') as unchanged,
    coalesce(sum(verdict.null_confidence) filter (where verdict.outcome = 'resolved'), 0) as null_confidence,
    coalesce(sum(verdict.duplicate) filter (where verdict.outcome = 'resolved'), 0) as duplicate,
    coalesce(sum(verdict.out_of_band) filter (where verdict.outcome = 'resolved'), 0) as out_of_band,
    coalesce(sum(verdict.unknown) filter (where verdict.outcome = 'resolved'), 0) as unknown
  into reached
  from unnest(written.verdicts) as verdict;

  select jsonb_object_agg(counted.outcome, counted.verdicts)
  into skipped
  from (
    select verdict.outcome, count(*) as verdicts
    from unnest(written.verdicts) as verdict
    where verdict.outcome not in ('resolved', 'resolved_compilation', 'unresolved')
    group by verdict.outcome
  ) as counted;

  return identity_sync_private.empty_report() || jsonb_build_object(
    'scanned', reached.scanned,
    'rows_resolved', reached.resolved,
    'rows_resolved_compilation', reached.resolved_compilation,
    'rows_unresolved', reached.unresolved,
    'rows_skipped', (identity_sync_private.empty_report() -> 'rows_skipped') || coalesce(skipped, '{}'),
    'source_rows_skipped_null_confidence', reached.null_confidence,
    'source_rows_skipped_duplicate', reached.duplicate,
    'source_rows_out_of_band', reached.out_of_band,
    'source_rows_unknown', reached.unknown,
    'identity', jsonb_build_object(
      'inserted', reached.inserted,
      'changed', reached.changed,
      'unchanged', reached.unchanged
    ),
    'source', jsonb_build_object(
      'inserted', written.source_inserted,
      'changed', written.source_changed,
      'unchanged', written.source_unchanged,
      'removed', written.source_removed
    ),
    'compilation_track', written.compilation_track
  );
end;
$$;

revoke all on function identity_sync_private.build_report(identity_sync_private.write_result) from public;

comment on function identity_sync_private.build_report(identity_sync_private.write_result) is
  'Takes what was written, with every judged verdict in it and its final outcome; returns the report.';
