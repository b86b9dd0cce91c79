-- Tells a program that its database lacks migrations, before the program meets a function that is missing.
-- roles.sql opens the history to every reader, since it belongs to the role that migrates.
create or replace function identity_sync.missing_migrations(known text[])
returns integer
language sql stable
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  select count(*)::integer
  from unnest(missing_migrations.known) as brought (hash)
  where not exists (select from graphile_migrate.migrations as seen where seen.hash = brought.hash);
$$;

revoke all on function identity_sync.missing_migrations(text[]) from public;

comment on function identity_sync.missing_migrations(text[]) is
  'Takes the hashes of the migrations that a program brings; returns how many of them this database has not seen.';
