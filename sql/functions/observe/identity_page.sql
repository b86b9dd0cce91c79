-- What the page draws beside identity_status: series over runs, days and the days to come, the latest refusals, and who
-- was taken for whom of late. Each list is bounded, so that the page is of one size at any age of the database.
create or replace function identity_sync.identity_page(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  return jsonb_build_object(
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run and run.planned > 0
        order by run.run_id desc
        limit 30
      ) as latest
    ),
    'calls_by_day', (
      select coalesce(jsonb_agg(to_jsonb(counted) order by counted.day), '[]')
      from (
        select
          (call.started_at at time zone 'UTC')::date as day,
          count(*) as calls,
          count(*) filter (where call.http_status is distinct from 200) as failures,
          round(percentile_cont(0.5) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p50_ms,
          round(percentile_cont(0.95) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p95_ms
        from identity_sync.lml_call as call
        where call.answered_at is not null and call.started_at > clock_timestamp() - interval '30 days'
        group by 1
      ) as counted
    ),
    'due_by_day', identity_sync_private.due_by_day(stale_days, unresolved_retry_days, include_null_canonical, 28),
    'refusals', identity_sync_private.latest_refusals(20),
    'changes', identity_sync_private.artists_changed(5000, 30)
  );
end;
$$;

revoke all on function identity_sync.identity_page(integer, integer, boolean) from public;

comment on function identity_sync.identity_page(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days); returns the last thirty runs, calls_by_day, due_by_day, and the latest refusals and changes of artist. Raises LS001 for a value out of range.';
