-- How far an open run is, how fast it has been within the last minute, and what it waits for. Rows of failed batches
-- are not done: they are due again.
create or replace function identity_sync_private.describe_open_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'started_at', run.started_at,
    'deadline_at', run.deadline_at,
    'stop_cause', run.stop_cause,
    'stop_reason', run.stop_reason,
    'planned', run.planned,
    'done', progress.done,
    'failed', progress.failed,
    'batches_left', progress.batches_left,
    'calls_in_flight', progress.calls_in_flight,
    'rows_per_second', round(pace.rows_per_second, 1),
    'seconds_left', ceil((run.planned - progress.done - progress.failed) / pace.rows_per_second),
    'waits', identity_sync_private.waits_of_run(run.run_id)
  )
  from identity_sync.run
  cross join lateral (
    select
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed'), 0) as done,
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.state = 'failed'), 0) as failed,
      count(*) filter (where batch.closed_at is null) as batches_left,
      count(*) filter (where batch.state = 'in_flight' and batch.leased_until >= clock_timestamp()) as calls_in_flight,
      sum(cardinality(batch.library_ids)) filter (
        where batch.is_done and batch.state <> 'failed' and batch.closed_at > clock_timestamp() - interval '1 minute'
      ) as done_lately
    from identity_sync.batch
    where batch.run_id = run.run_id
  ) as progress
  cross join lateral (
    select
      progress.done_lately
        / greatest(least(extract(epoch from clock_timestamp() - run.started_at), 60), 1) as rows_per_second
  ) as pace
  where run.run_id = describe_open_run.run_id;
$$;

revoke all on function identity_sync_private.describe_open_run(bigint) from public;

comment on function identity_sync_private.describe_open_run(bigint) is
  'Takes an open run; returns its settings, rows planned, done and failed, rate of the last minute, seconds left, calls in flight and waits.';
