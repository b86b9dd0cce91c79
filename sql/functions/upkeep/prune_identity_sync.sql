-- Deletes what is of no use any more: batches of runs that ended long ago with their calls and kept answers, quarantine
-- that was closed long ago, marks of libraries that are gone, workers that are gone, and their jobs. What undoing needs
-- stays for ever: history, superseded rows and settlements. A run keeps its report.
create or replace function identity_sync.prune_identity_sync(keep_days integer)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  keep_after timestamptz;
begin
  perform identity_sync_private.check_range('keep_days', keep_days, 1, 1000000, 'days');
  keep_after := clock_timestamp() - make_interval(days => keep_days);

  with pruned as (
    update identity_sync.run
    set batches_pruned_at = clock_timestamp()
    where run.finished_at < keep_after and run.batches_pruned_at is null
    returning run.run_id
  )
  delete from identity_sync.batch
  using pruned
  where batch.run_id = pruned.run_id;

  -- Nothing can be replayed or asked for them any more.
  update identity_sync.quarantined_verdict
  set closed_at = clock_timestamp(), closed_reason = 'the library is gone'
  where quarantined_verdict.closed_at is null
    and quarantined_verdict.library_id is not null
    and not exists (select from wxyc_schema.library where library.id = quarantined_verdict.library_id);

  delete from identity_sync.attempt
  where not exists (select from wxyc_schema.library where library.id = attempt.library_id);

  delete from identity_sync.brake_memory
  using identity_sync.settlement
  where settlement.settlement_id = brake_memory.settlement_id and settlement.settled_at < keep_after;

  delete from identity_sync.quarantined_verdict
  where quarantined_verdict.closed_at < keep_after;

  delete from identity_sync.asked_as
  where not exists (select from wxyc_schema.library where library.id = asked_as.library_id);

  delete from identity_sync.worker
  where greatest(worker.asked_at, worker.seen_at) < keep_after;

  -- The job of a lane whose process has died stays locked. Enqueued again it is spent, and graphile-worker never
  -- deletes it.
  perform graphile_worker.complete_jobs(
    array(
      select jobs.id
      from graphile_worker.jobs
      where jobs.task_identifier = 'carry_identity_run'
        and jobs.attempts >= jobs.max_attempts
        and jobs.updated_at < keep_after
    )
  );
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older, with the jobs that dead processes have left, lifts the marks of libraries that are gone and closes their quarantine. Raises LS001 for a value out of range.';
