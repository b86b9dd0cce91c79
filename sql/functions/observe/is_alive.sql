-- A worker calls every few seconds, between its calls to LML too. One that has been silent for three of these is taken
-- for dead.
create or replace function identity_sync_private.is_alive(worker identity_sync.worker)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '15 seconds';
$$;

revoke all on function identity_sync_private.is_alive(identity_sync.worker) from public;

comment on function identity_sync_private.is_alive(identity_sync.worker) is
  'Takes a worker; returns whether it was heard of within the last fifteen seconds.';
