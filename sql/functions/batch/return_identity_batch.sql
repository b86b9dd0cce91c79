-- Returns a claimed batch whose call was cut off, so that another lane claims it at once instead of after the lease.
-- A batch that another lane holds by now stays as it is.
create or replace function identity_sync.return_identity_batch(batch_id bigint, leased_by text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  select identity_sync_private.reopen_identity_batch(leased.batch_id)
  from identity_sync.batch as leased
  where leased.batch_id = return_identity_batch.batch_id
    and leased.leased_by = return_identity_batch.leased_by
    and leased.closed_at is null;
$$;

revoke all on function identity_sync.return_identity_batch(bigint, text) from public;

comment on function identity_sync.return_identity_batch(bigint, text) is
  'Takes a batch and the lane that holds it; opens it again, or abandons it where its run is stopping.';
