-- LML refuses the key, so it would refuse every other call too: all open runs stop, and the cron plans nothing until
-- LML has answered a run by hand or a worker has started with another key. The batch fails, and its rows stay due.
create or replace function identity_sync_private.stop_for_refused_key(batch_id bigint, http_status integer, reason text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into identity_sync.planning_hold as hold (name, reason, run_id)
  select 'key_refused', stop_for_refused_key.reason, batch.run_id
  from identity_sync.batch
  where batch.batch_id = stop_for_refused_key.batch_id
  on conflict (name) do nothing;

  -- Stopped before the batch fails, so that a run of which it was the last names the key as its reason.
  perform identity_sync.stop_identity_run(
    open.run_id,
    format('LML answered %s: the key is refused. Check LML_API_KEY; nothing more is asked.', http_status),
    cause => 'key'
  )
  from identity_sync.run as open
  where open.finished_at is null;

  perform identity_sync.fail_identity_batch(batch_id, reason);
end;
$$;

revoke all on function identity_sync_private.stop_for_refused_key(bigint, integer, text) from public;

comment on function identity_sync_private.stop_for_refused_key(bigint, integer, text) is
  'Takes a batch, the status 401 or 403 and the reason in words; holds planning, stops every open run and fails the batch.';
