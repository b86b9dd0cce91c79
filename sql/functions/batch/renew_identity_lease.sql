-- Renews a lane's lease while it waits to hand its answer over again. If it ran out meanwhile, the same rows would be
-- asked twice.
create or replace function identity_sync.renew_identity_lease(batch_id bigint, leased_by text, lease_ms integer)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  update identity_sync.batch
  set leased_until = clock_timestamp() + renew_identity_lease.lease_ms * interval '1 millisecond'
  where batch.batch_id = renew_identity_lease.batch_id
    and batch.leased_by = renew_identity_lease.leased_by;
$$;

revoke all on function identity_sync.renew_identity_lease(bigint, text, integer) from public;

comment on function identity_sync.renew_identity_lease(bigint, text, integer) is
  'Takes a batch, the lane that holds it and its new lease in milliseconds from now. A batch that another lane holds stays as it is.';
