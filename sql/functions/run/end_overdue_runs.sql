-- Stops the runs whose deadline has passed, and abandons in those that are stopping what no lane holds any more, so
-- that a run whose process has died holds nothing that is not in flight when another is planned.
create or replace function identity_sync_private.end_overdue_runs()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select
    identity_sync.stop_identity_run(
      overdue.run_id, 'its deadline has passed, what is left is due next time', cause => 'deadline'
    )
  from identity_sync.run as overdue
  where overdue.finished_at is null
    and (overdue.stop_cause is not null or overdue.deadline_at < clock_timestamp())
  order by overdue.run_id;
$$;

revoke all on function identity_sync_private.end_overdue_runs() from public;

comment on function identity_sync_private.end_overdue_runs() is
  'Stops each open run that is past its deadline or stopping already; a run stopped before keeps its cause.';
