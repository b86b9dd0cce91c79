-- Makes sessions that apply verdicts for the same libraries wait for one another, in id order, so that they neither
-- deadlock nor lose a history row. The locks are advisory, one an id, and end with the transaction: neighbouring
-- batches do not wait. More than 1,000 ids would crowd the lock table, and take one lock against all sessions, as NULL
-- does.
create or replace function identity_sync_private.lock_identities(library_ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  all_sessions constant integer := hashtext('identity_sync_private.lock_identities, all');
  one_library constant integer := hashtext('identity_sync_private.lock_identities, one');
begin
  if library_ids is null or cardinality(library_ids) > 1000 then
    perform pg_advisory_xact_lock(all_sessions, 0);
    return;
  end if;

  if exists (
    select from pg_locks
    where locktype = 'advisory'
      and pid = pg_backend_pid()
      and mode = 'ExclusiveLock'
      and classid::bigint = all_sessions::bigint & 4294967295
  )
  then
    return;
  end if;

  perform pg_advisory_xact_lock_shared(all_sessions, 0);
  perform pg_advisory_xact_lock(one_library, listed.library_id)
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
