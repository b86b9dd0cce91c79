-- Says in words what is wrong between a program, its database and its login before any work begins, and names the cure.
-- It runs with its caller's rights, since these are what it looks at.
create or replace function identity_sync.assert_program_fits(known text[], calls text[] default '{}')
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  newer text;
  lacking constant integer := identity_sync.missing_migrations(known);
  lost text;
  denied record;
begin
  select string_agg(filename, ', ' order by filename) into newer
  from graphile_migrate.migrations
  where hash <> all (known);
  if newer is not null then
    raise exception using
      errcode = 'LS005',
      message = format('the database %I is newer than this program: it has %s', current_database(), newer),
      hint = 'Deploy the version of identity-sync that made these migrations, or a newer one.';
  end if;

  if lacking > 0 then
    raise exception using
      errcode = 'LS005',
      message = format(
        'the database %I is older than this program: it lacks %s of its migrations', current_database(), lacking
      ),
      hint = 'Run identity-sync migrate as its owner, then sql/roles.sql.';
  end if;

  lost := array_to_string(identity_sync.lost_columns(), ', ');
  if lost <> '' then
    raise exception using
      errcode = 'LS005',
      message = format('the station''s tables in the database %I lack %s', current_database(), lost),
      hint = 'Add what is gone: identity-sync migrate names each column with its type.';
  end if;

  select pg_proc.proname as name, granted.roles, granted.variable into denied
  from pg_proc
  cross join lateral (
    select
      string_agg(rolname, ' or ' order by rolname) as roles,
      min(substring(rolname from '^identity_(reader|operator|worker)')) as variable
    from aclexplode(pg_proc.proacl) as acl
    join pg_roles on pg_roles.oid = acl.grantee
    where acl.grantee <> pg_proc.proowner
  ) as granted
  where pg_proc.pronamespace = 'identity_sync'::regnamespace
    and pg_proc.proname = any (calls)
    and not has_function_privilege(pg_proc.oid, 'EXECUTE')
  order by pg_proc.proname;
  if found then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
        'permission denied for %s: %I is no member of %s',
        denied.name, current_user, coalesce(denied.roles, 'any role that may call it')
      ),
      hint = format(
        'Use a login that is (README, "Which login"), or make this one a member: '
          'psql "$DBA_URL" -v %s=%I -f sql/roles.sql.',
        coalesce(denied.variable, 'worker'), current_user
      );
  end if;
end;
$$;

revoke all on function identity_sync.assert_program_fits(text[], text[]) from public;

comment on function identity_sync.assert_program_fits(text[], text[]) is
  'Takes the hashes of the migrations that a program brings and the functions that it calls; raises LS005 where the database is newer or older or lacks columns, and 42501 where this login may not call one of them.';
