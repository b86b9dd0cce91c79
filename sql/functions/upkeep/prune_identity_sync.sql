-- Deletes what is of no use any more: batches of runs that ended long ago, with their calls and kept answers, quarantine
-- that was closed long ago, and workers that are gone. What undoing needs always stays: history, superseded rows and
-- settlements. A run keeps its report.
create or replace function identity_sync.prune_identity_sync(keep_days integer)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  keep_after constant timestamptz := clock_timestamp() - make_interval(days => keep_days);
begin
  if keep_days is null or keep_days < 1 then
    raise exception using
      errcode = 'LS001',
      message = format('keep_days is %s', coalesce(keep_days::text, 'NULL')),
      hint = 'Allowed: 1 day and more.';
  end if;

  delete from identity_sync.batch
  using identity_sync.run
  where run.run_id = batch.run_id and run.finished_at < keep_after;

  delete from identity_sync.quarantined_verdict
  where quarantined_verdict.closed_at < keep_after;

  delete from identity_sync.worker
  where worker.asked_at < keep_after;
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older. Raises LS001 for less than a day.';
