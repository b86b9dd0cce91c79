-- Stops a run for a caller that must not wait, since it holds a lock that every claim needs.
create or replace function identity_sync_private.stop_unheld_run(run_id bigint, reason text, cause text)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from identity_sync.run where run.run_id = stop_unheld_run.run_id for no key update skip locked;
  if not found then
    return false;
  end if;

  perform identity_sync.stop_identity_run(run_id, reason, cause => cause);
  return true;
end;
$$;

revoke all on function identity_sync_private.stop_unheld_run(bigint, text, text) from public;

comment on function identity_sync_private.stop_unheld_run(bigint, text, text) is
  'Takes a run, the reason and the cause as stop_identity_run does; returns false, and stops nothing, where another session holds the run.';
