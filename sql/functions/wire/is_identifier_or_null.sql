-- Whether a JSON value is an identifier: a string of 1 to 512 characters; null and missing pass too.
-- No catalogue has longer ones, and an empty one identifies nobody.
create or replace function identity_sync_private.is_identifier_or_null(value jsonb)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case coalesce(jsonb_typeof(is_identifier_or_null.value), 'null')
    when 'null' then true
    when 'string' then char_length(is_identifier_or_null.value #>> '{}') between 1 and 512
    else false
  end;
$$;

revoke all on function identity_sync_private.is_identifier_or_null(jsonb) from public;

comment on function identity_sync_private.is_identifier_or_null(jsonb) is
  'Takes a JSON value or NULL; returns whether it is null or a string of 1 to 512 characters.';
