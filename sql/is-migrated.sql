-- What `identity-sync migrate` asks for a login that may not migrate: whether another has done all of it. It is a
-- function of the session, so it leaves nothing behind, and a login without a role of roles.sql gets no answer but no.
-- A login whose transactions are read only by default could not even ask.
set transaction_read_only = off;

create function pg_temp.is_migrated_by_another(known_migrations text[])
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The owner of the station's identity tables is believed: any login that may create schemas could make ones of these
  -- names, and its functions would run with this login's rights.
  if not exists (
    select
    from pg_class
    join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_namespace.nspname = 'graphile_migrate'
      and pg_class.relname = 'migrations'
      and not pg_has_role(pg_namespace.nspowner, 'USAGE')
      and has_schema_privilege(pg_namespace.oid, 'USAGE')
      and has_table_privilege(pg_class.oid, 'SELECT')
  )
    or exists (
      select
      from pg_namespace as own
      cross join pg_class as identity
      join pg_namespace as station on station.oid = identity.relnamespace
      where own.nspname in ('identity_sync', 'identity_sync_private', 'graphile_migrate')
        and station.nspname = 'wxyc_schema'
        and identity.relname = 'library_identity'
        and not pg_has_role(own.nspowner, identity.relowner, 'USAGE')
    )
  then
    return false;
  end if;
  return identity_sync.missing_migrations(known => known_migrations) = 0;
end;
$$;
