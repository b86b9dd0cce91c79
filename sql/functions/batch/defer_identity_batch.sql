-- Opens a batch again because LML asked for a pause, which applies to the whole run: LML would answer the other calls
-- the same. A deferral charges no try.
create or replace function identity_sync_private.defer_identity_batch(batch_id bigint, retry_at timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  deferred identity_sync.batch;
begin
  update identity_sync.batch
  set
    state = 'open',
    leased_by = null,
    leased_until = null,
    deferrals = batch.deferrals + 1,
    not_before = coalesce(
      -- A Retry-After that has passed already must not make a lane spin.
      case when retry_at is not null then greatest(retry_at, clock_timestamp() + interval '0.5 seconds') end,
      clock_timestamp() + identity_sync_private.backoff(batch.deferrals)
    )
  where batch.batch_id = defer_identity_batch.batch_id
  returning *
  into deferred;

  update identity_sync.run
  set paused_until = greatest(run.paused_until, deferred.not_before)
  where run.run_id = deferred.run_id;
end;
$$;

revoke all on function identity_sync_private.defer_identity_batch(bigint, timestamptz) from public;

comment on function identity_sync_private.defer_identity_batch(bigint, timestamptz) is
  'Takes a batch and the time that LML named (NULL: none); opens the batch again for then, and pauses its run until then.';
