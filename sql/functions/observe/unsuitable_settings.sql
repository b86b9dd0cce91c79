-- Names the settings of this session under which a run is slow or cut off, which a database or a login may have as its
-- default.
create or replace function identity_sync_private.unsuitable_settings()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('%s = %s', name, current_setting(name)), ', ' order by name)
  from pg_settings
  where name = 'default_transaction_isolation' and setting <> 'read committed'
    or name = 'idle_session_timeout' and setting <> '0'
    or name = 'statement_timeout' and setting::bigint between 1 and 59999;
$$;

revoke all on function identity_sync_private.unsuitable_settings() from public;

comment on function identity_sync_private.unsuitable_settings() is
  'Returns the settings of this session that do not suit a run, with their values, or NULL.';
