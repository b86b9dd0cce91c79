-- A call of the writer by hand is a run that is over at once: it shows where runs do, and is undone by its number. No
-- lane carries it, nothing joins it, and Sentry is not told of it.
create or replace function identity_sync_private.record_run_by_hand(
  run_id bigint,
  scope text,
  started_at timestamptz,
  report jsonb,
  of_run_id bigint default null,
  ids integer[] default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  refused constant integer := identity_sync_private.refused_rows(report);
  scanned constant integer := (report ->> 'scanned')::integer;
  is_success constant boolean := identity_sync.report_is_success(report);
begin
  insert into identity_sync.run (
    run_id, scope, of_run_id, ids, dry_run, planned, report, opened_by, started_at, finished_at, reported_at, outcome,
    outcome_reason,
    -- What only planning knows.
    stale_days, unresolved_retry_days, include_null_canonical, partition_index, partition_count, strict_bands,
    batch_size, va_batch_size, deadline_at, scheduled
  )
  overriding system value
  select
    record_run_by_hand.run_id, record_run_by_hand.scope, record_run_by_hand.of_run_id, record_run_by_hand.ids, false,
    scanned, record_run_by_hand.report, session_user, record_run_by_hand.started_at, ended.at, ended.at,
    case when is_success then 'completed' else 'failed' end,
    case when not is_success then format('%s refused, %s settled', refused, scanned - refused) end,
    0, 0, false, 0, 1, false, 0, 0, ended.at, false
  from (select clock_timestamp()) as ended (at);

  raise notice using
    errcode = 'LS009',
    message = format('this is run %s (%s)', run_id, scope),
    hint = 'By this number it is looked at and undone.';
end;
$$;

revoke all on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) from public;

comment on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) is
  'Takes the run''s number, what it was (repair, preview, replay, hold, release, undo), when it began, its report, the run it is about and the ids named; records it as over, and tells its number in a notice (LS009).';
