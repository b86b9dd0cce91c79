-- Gives a claimed batch back unasked, or with its call cut off, so that somebody else claims it at once instead of after
-- the lease. A batch that the leased_by no longer holds is left alone.
create or replace function identity_sync.return_identity_batch(batch_id bigint, leased_by text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select identity_sync_private.reopen_identity_batch(held.batch_id)
  from identity_sync.batch as held
  where held.batch_id = return_identity_batch.batch_id
    and held.leased_by = return_identity_batch.leased_by
    and held.closed_at is null;
$$;

revoke all on function identity_sync.return_identity_batch(bigint, text) from public;

comment on function identity_sync.return_identity_batch(bigint, text) is
  'Takes a batch and its leased_by; makes it claimable again.';
