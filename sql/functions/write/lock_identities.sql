-- Makes sessions that write the same libraries wait for one another, until the transaction ends, so that they neither
-- deadlock nor lose a history row. A row of library_lock is deleted as soon as it is inserted: its exclusion constraint
-- makes others wait for this transaction, and afterwards nothing is left of it. All libraries are taken at once and
-- without a place in the lock table, so that their number has no limit and neighbours do not wait.
create or replace function identity_sync_private.lock_identities(library_ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  taken tid;
begin
  -- "on conflict" never keeps a row of its own while it waits, so that two sessions cannot wait for each other.
  insert into identity_sync.library_lock (library_ids)
  -- The last integer of all has no range of its own, and shares that of the one before.
  select range_agg(int4range(least(listed.library_id, 2147483646), least(listed.library_id, 2147483646), '[]'))
  from unnest(lock_identities.library_ids) as listed (library_id)
  where listed.library_id is not null
  having count(*) > 0
  on conflict do nothing
  returning ctid
  into taken;

  delete from identity_sync.library_lock
  where library_lock.ctid = taken;
exception
  when lock_not_available then
    raise exception using
      errcode = 'lock_not_available',
      message = 'another session is writing some of these libraries',
      detail = format(
        'Sessions that are writing libraries: %s.',
        coalesce(
          (
            select string_agg(distinct pg_locks.pid::text, ', ')
            from pg_locks
            join pg_database on pg_database.oid = pg_locks.database and pg_database.datname = current_database()
            where pg_locks.relation = 'identity_sync.library_lock'::regclass
              and pg_locks.mode = 'RowExclusiveLock'
              and pg_locks.pid <> pg_backend_pid()
          ),
          'none any more'
        )
      ),
      hint = 'Try again once it has committed; pg_stat_activity shows what it does.';
end;
$$;

revoke all on function identity_sync_private.lock_identities(integer[]) from public;

comment on function identity_sync_private.lock_identities(integer[]) is
  'Takes library ids; holds them, until the transaction ends, against every other session that writes identities. Raises 55P03 where another holds one of them for longer than lock_timeout.';
