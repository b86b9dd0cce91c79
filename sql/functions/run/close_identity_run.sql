-- Ends a run when its last batch is closed, and records the outcome: failed where a batch failed, more rows were
-- refused than not, none could be asked, or key, brake or breaker stopped it; stopped by a person or its deadline; else
-- completed, also where its budget of calls was used up. Sessions that close the last two batches at once wait for each
-- other at the run's row, so one of them sees nothing left.
create or replace function identity_sync_private.close_identity_run(run_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  failed_batches integer;
  failure text;
  final_report jsonb;
  ended identity_sync.run;
  is_success boolean;
  obstacle text;
begin
  -- "no key": a session that has cut a batch of this run holds the run's key, and may be closing it, too.
  perform from identity_sync.run
  where run.run_id = close_identity_run.run_id and run.finished_at is null
  for no key update;
  if not found
    or exists (
      select from identity_sync.batch where batch.run_id = close_identity_run.run_id and batch.closed_at is null
    )
  then
    return;
  end if;

  select count(*), min(batch.failure)
  into failed_batches, failure
  from identity_sync.batch
  where batch.run_id = close_identity_run.run_id and batch.state = 'failed';

  final_report := identity_sync.identity_run_report(run_id);
  is_success := identity_sync.report_is_success(final_report);

  -- Nothing to ask, and not because nothing is due.
  select
    case
      when run.in_other_runs <> '{}'
      then format(
        'all of its rows are held by another open run: %s', array_to_string(run.held_by_runs, ', ')
      )
      when run.unaskable_ids <> '{}'
      then 'none of the ids named is in library with an artist name'
    end
  into obstacle
  from identity_sync.run
  where run.run_id = close_identity_run.run_id and run.planned = 0;

  update identity_sync.run
  set
    finished_at = clock_timestamp(),
    outcome = case
      when failed_batches > 0
        or not is_success
        or obstacle is not null
        or run.stop_cause in ('key', 'brake', 'breaker')
      then 'failed'
      when run.stop_cause in ('hand', 'deadline') then 'stopped'
      else 'completed'
    end,
    outcome_reason = coalesce(
      run.stop_reason,
      obstacle,
      case
        when failed_batches > 0 then format('%s of its batches failed: %s', failed_batches, failure)
        when not is_success
        then format(
          '%s refused, %s settled',
          identity_sync_private.refused_rows(final_report),
          (final_report ->> 'scanned')::integer - identity_sync_private.refused_rows(final_report)
        )
      end
    )
  where run.run_id = close_identity_run.run_id
  returning *
  into ended;

  -- The run keeps its report: its batches are pruned one day.
  final_report := identity_sync.identity_run_report(run_id);
  update identity_sync.run
  set report = final_report
  where run.run_id = close_identity_run.run_id;

  -- A rehearsal proves nothing, and the cron does not prove itself.
  if ended.outcome = 'completed'
    and ended.scope = 'due'
    and not ended.dry_run
    and not ended.scheduled
    and ended.braked_at is null
  then
    delete from identity_sync.planning_hold
    where planning_hold.name = 'brake' and planning_hold.since < ended.started_at;
  end if;
end;
$$;

revoke all on function identity_sync_private.close_identity_run(bigint) from public;

comment on function identity_sync_private.close_identity_run(bigint) is
  'Takes a run; where every batch of it is closed, sets finished_at, outcome and report; else changes nothing.';
