-- Hands each run that ended within the last day to the first process that asks, so Sentry hears of a run once, however
-- many processes carried it.
create or replace function identity_sync.take_unreported_runs()
returns table (run_id bigint, trace_id text, scheduled boolean, report jsonb)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  update identity_sync.run as ended
  set reported_at = clock_timestamp()
  where ended.finished_at > clock_timestamp() - interval '1 day' and ended.reported_at is null
  returning ended.run_id, ended.trace_id, ended.scheduled, ended.report;
$$;

revoke all on function identity_sync.take_unreported_runs() from public;

comment on function identity_sync.take_unreported_runs() is
  'Returns the runs that ended within a day and no process has reported yet, with trace and report, and marks them as reported.';
