-- How long to wait before the next call: half a second, doubling to 30, with a quarter of jitter either way, so that
-- batches which failed together do not come back together. Retries and deferrals share it.
create or replace function identity_sync_private.backoff(tries integer)
returns interval
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  -- Capped before it doubles: deferrals have no bound, and 2 ^ 1024 is out of range.
  select least(30, 0.5 * 2 ^ least(tries, 10)) * (0.75 + random() / 2) * interval '1 second';
$$;

revoke all on function identity_sync_private.backoff(integer) from public;

comment on function identity_sync_private.backoff(integer) is
  'Takes how often the same batch has been sent back before; returns the pause, 0.375 to 37.5 seconds.';
