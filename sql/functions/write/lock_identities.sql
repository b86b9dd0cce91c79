-- Makes sessions that apply verdicts for the same libraries wait for one another, in id order, so that they neither
-- deadlock nor lose a history row. The locks are advisory, end with the transaction, and are one an id, so that
-- neighbouring batches do not wait. More than a thousand ids would crowd the lock table and take one lock against
-- everybody instead, as does NULL, for a transaction that will apply answer after answer.
create or replace function identity_sync_private.lock_identities(library_ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  everybody constant integer := hashtext('identity_sync_private.lock_identities, all');
  one constant integer := hashtext('identity_sync_private.lock_identities, one');
begin
  if library_ids is null or cardinality(library_ids) > 1000 then
    perform pg_advisory_xact_lock(everybody, 0);
    return;
  end if;

  if exists (
    select from pg_locks
    where locktype = 'advisory'
      and pid = pg_backend_pid()
      and mode = 'ExclusiveLock'
      and classid::bigint = everybody::bigint & 4294967295
  )
  then
    return;
  end if;

  perform pg_advisory_xact_lock_shared(everybody, 0);
  perform pg_advisory_xact_lock(one, listed.library_id)
  from (
    select distinct library_id
    from unnest(lock_identities.library_ids) as library_id
    where library_id is not null
    order by library_id
  ) as listed;
end;
$$;

revoke all on function identity_sync_private.lock_identities(integer[]) from public;

comment on function identity_sync_private.lock_identities(integer[]) is
  'Takes library ids (NULL: all); holds them, until the transaction ends, against every other session that applies verdicts.';
