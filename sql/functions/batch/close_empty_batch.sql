-- Applies a batch without a call, since all of its records are gone or have lost their names. Its caller holds a lock
-- that every claim needs, so it waits for no other session: the batch then has its turn some seconds later.
create or replace function identity_sync_private.close_empty_batch(batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
declare
  empty record;
begin
  select batch.run_id, batch.library_ids
  into strict empty
  from identity_sync.batch
  where batch.batch_id = close_empty_batch.batch_id;

  perform from identity_sync.run where run.run_id = empty.run_id for no key update;
  perform identity_sync_private.lock_identities(empty.library_ids);
  perform identity_sync_private.apply_identity_batch(batch_id, '[]');
  perform identity_sync_private.close_identity_run(empty.run_id);
exception
  when lock_not_available then
    update identity_sync.batch
    set not_before = clock_timestamp() + identity_sync_private.backoff(3)
    where batch.batch_id = close_empty_batch.batch_id;
end;
$$;

revoke all on function identity_sync_private.close_empty_batch(bigint) from public;

comment on function identity_sync_private.close_empty_batch(bigint) is
  'Takes a batch of which nothing is left to request; closes it as empty, or puts it off where another session holds its run or its libraries.';
