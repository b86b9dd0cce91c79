-- Gives a batch back because LML asked for a pause, which holds for its whole run: the others would be told the same.
-- A deferral charges no try. Without a time given, pauses grow from half a second to 30 seconds.
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
      case when retry_at is not null then greatest(retry_at, clock_timestamp() + interval '0.5 seconds') end,
      clock_timestamp() + least(30, 0.5 * 2 ^ least(batch.deferrals, 10)) * (0.75 + random() / 2) * interval '1 second'
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
  'Takes a batch and the time that LML named (NULL: none); opens it again for then, and pauses its run until then.';
