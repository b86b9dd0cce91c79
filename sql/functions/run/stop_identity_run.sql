-- Stops a run for its first cause: batches that no lane holds are abandoned and stay due, and calls in flight finish.
-- Stopping it once more abandons what was opened again or lost its lease since. With opened_by, a process stops only a
-- run that it opened itself; one that it merely joined goes on.
create or replace function identity_sync.stop_identity_run(
  run_id bigint,
  reason text,
  opened_by text default null,
  cause text default 'hand'
)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  stated constant text := coalesce(
    reason,
    case cause
      when 'deadline' then 'its deadline has passed, what is left is due next time'
      when 'budget' then 'its budget of calls is used up, what is left is due next time'
    end
  );
begin
  perform identity_sync_private.check_reason(stated);

  update identity_sync.run
  set stop_reason = coalesce(run.stop_reason, stated), stop_cause = coalesce(run.stop_cause, cause)
  where run.run_id = stop_identity_run.run_id
    and run.finished_at is null
    and (stop_identity_run.opened_by is null or run.opened_by = stop_identity_run.opened_by);

  if not found then
    return false;
  end if;

  -- A batch that another session holds is being claimed or finished right now.
  update identity_sync.batch
  set state = 'abandoned', leased_by = null, leased_until = null, closed_at = clock_timestamp()
  where batch.batch_id in (
    select unheld.batch_id
    from identity_sync.batch as unheld
    where unheld.run_id = stop_identity_run.run_id
      and (
        unheld.state = 'open'
        or unheld.closed_at is null and unheld.leased_until < clock_timestamp() and unheld.answer is null
      )
    for update skip locked
  );

  perform identity_sync_private.close_identity_run(run_id);
  return true;
end;
$$;

revoke all on function identity_sync.stop_identity_run(bigint, text, text, text) from public;

comment on function identity_sync.stop_identity_run(bigint, text, text, text) is
  'Takes a run, the reason (NULL: as the cause deadline or budget has it), who must have opened the run (NULL: anybody), and the cause (hand, deadline, budget, key, brake, breaker); abandons every batch that no lane holds, and ends the run once no call is in flight. Returns false where no such run is open. Raises LS001 for an empty reason.';
