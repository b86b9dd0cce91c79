-- Casts a text to jsonb, and returns NULL where that fails for any reason.
-- This is the only place where a failing cast is no error.
create or replace function identity_sync_private.jsonb_or_null(value text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return value::jsonb;
exception
  when others then
    return null;
end;
$$;

revoke all on function identity_sync_private.jsonb_or_null(text) from public;

comment on function identity_sync_private.jsonb_or_null(text) is
  'Takes a text; returns it as jsonb, NULL where jsonb refuses it.';
