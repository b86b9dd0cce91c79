-- Stops the runs whose deadline has passed, and abandons in those that are stopping what no lane holds any more, so
-- that a run whose process has died holds nothing that is not in flight when another is planned.
create or replace function identity_sync_private.end_overdue_runs()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select identity_sync.stop_identity_run(overdue.run_id, null, cause => 'deadline')
  -- A run that another session is stopping, or closing, is not waited for.
  from (
    select run.run_id
    from identity_sync.run
    where run.finished_at is null and (run.stop_cause is not null or run.deadline_at < clock_timestamp())
    order by run.run_id
    for no key update skip locked
  ) as overdue;
$$;

revoke all on function identity_sync_private.end_overdue_runs() from public;

comment on function identity_sync_private.end_overdue_runs() is
  'Stops each open run that is past its deadline or stopping already; a run stopped before keeps its cause.';
