-- Names what graphile-worker keeps jobs in and this login cannot work with: closed to it, or hidden from it by row
-- security without a policy for it.
create or replace function identity_sync_private.closed_queue()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(relname, ', ' order by relname)
  from pg_class
  where relnamespace = to_regnamespace('graphile_worker')
    and relkind = 'r'
    and (
      not has_schema_privilege(relnamespace, 'USAGE')
      or not (has_table_privilege(oid, 'SELECT') and has_table_privilege(oid, 'UPDATE'))
      or row_security_active(oid) and not exists (
        select
        from pg_policy
        where polrelid = pg_class.oid
          and exists (select from unnest(polroles) as role where role = 0 or pg_has_role(role, 'USAGE'))
      )
    );
$$;

revoke all on function identity_sync_private.closed_queue() from public;

comment on function identity_sync_private.closed_queue() is
  'Returns the tables of graphile-worker that this login cannot read and write, or NULL.';
