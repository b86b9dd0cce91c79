-- A process that carries runs is heard of every ten seconds at least, also while its calls to LML are under way. One
-- that has missed that twice is taken for dead. One that plans nothing carries runs alone, and is gone once all are
-- over.
create or replace function identity_sync_private.is_alive(worker identity_sync.worker)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '20 seconds'
    and (worker.plan_cron is not null or exists (select from identity_sync.run where run.finished_at is null));
$$;

revoke all on function identity_sync_private.is_alive(identity_sync.worker) from public;

comment on function identity_sync_private.is_alive(identity_sync.worker) is
  'Takes a worker; returns whether it was heard of within the last twenty seconds, and plans runs or may carry one.';
