-- Opens a batch again after a passing fault, and charges it a try. LML's Retry-After rules where it was given.
create or replace function identity_sync_private.retry_identity_batch(batch_id bigint, retry_at timestamptz)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set
    state = 'open',
    leased_by = null,
    leased_until = null,
    tries = batch.tries + 1,
    not_before = coalesce(retry_at, clock_timestamp() + identity_sync_private.backoff(batch.tries))
  where batch.batch_id = retry_identity_batch.batch_id;
$$;

revoke all on function identity_sync_private.retry_identity_batch(bigint, timestamptz) from public;

comment on function identity_sync_private.retry_identity_batch(bigint, timestamptz) is
  'Takes a batch and the time that LML named (NULL: none); opens the batch again for then, with one try more.';
