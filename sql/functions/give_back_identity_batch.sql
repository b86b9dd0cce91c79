-- Gives a claimed batch back unasked, or with its call cut off, so that somebody else claims it at once instead of after
-- the lease. A batch that the holder no longer holds is left alone.
create or replace function identity_sync.give_back_identity_batch(batch_id bigint, holder text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select identity_sync.reopen_identity_batch(held.batch_id)
  from identity_sync.batch as held
  where held.batch_id = give_back_identity_batch.batch_id
    and held.holder = give_back_identity_batch.holder
    and held.closed_at is null;
$$;

revoke all on function identity_sync.give_back_identity_batch(bigint, text) from public;

comment on function identity_sync.give_back_identity_batch(bigint, text) is
  'Takes a batch and its holder; makes it claimable again.';
