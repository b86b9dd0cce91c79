-- The breaker: after three failed batches in a row LML is down, or the database takes no answer, and a run must not
-- spend the whole catalogue on it. The run pauses for 30 seconds, then twice as long each time, and stops after the
-- fourth pause. Parts of one batch count as one, and a batch with nothing to request counts neither way.
create or replace function identity_sync_private.trip_breaker(run_id bigint, reason text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  failed_in_a_row integer;
  paused identity_sync.run;
begin
  select count(*) filter (where latest.state = 'failed')
  into failed_in_a_row
  from (
    select distinct on (coalesce(batch.root_batch_id, batch.batch_id)) batch.state, batch.closed_at
    from identity_sync.batch
    where batch.run_id = trip_breaker.run_id and batch.state in ('applied', 'poisoned', 'failed')
    order by coalesce(batch.root_batch_id, batch.batch_id), batch.closed_at desc
  ) as latest
  where latest.closed_at >= (
    select coalesce(max(batch.closed_at), '-infinity')
    from identity_sync.batch
    where batch.run_id = trip_breaker.run_id and batch.state in ('applied', 'poisoned')
  );

  if failed_in_a_row < 3 then
    return;
  end if;

  update identity_sync.run
  set
    pauses = run.pauses + 1,
    paused_until = clock_timestamp() + 30 * 2 ^ run.pauses * interval '1 second'
  where run.run_id = trip_breaker.run_id
    and run.finished_at is null
    and coalesce(run.paused_until <= clock_timestamp(), true)
  returning *
  into paused;

  if paused.pauses > 4 then
    perform identity_sync.stop_identity_run(
      run_id, format('batch after batch fails, the last one: %s', reason), cause => 'breaker'
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.trip_breaker(bigint, text) from public;

comment on function identity_sync_private.trip_breaker(bigint, text) is
  'Takes a run and why its latest batch failed; pauses or stops the run after three failures in a row.';
