-- Makes sessions that apply verdicts for the same libraries wait for one another, in id order, so that they neither
-- deadlock nor lose a history row. The locks are advisory, end with the transaction, and cover blocks of 64 ids, since a
-- repair of the whole catalogue would fill the lock table with one an id. A second call in the same transaction takes nothing new.
create or replace function identity_sync.lock_identities(library_ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(hashtext('identity_sync.lock_identities'), block.number)
  from (
    select distinct library_id >> 6 as number
    from unnest(lock_identities.library_ids) as library_id
    order by number
  ) as block;
end;
$$;

revoke all on function identity_sync.lock_identities(integer[]) from public;

comment on function identity_sync.lock_identities(integer[]) is
  'Takes library ids; holds them, until the transaction ends, against every other session that applies verdicts.';
