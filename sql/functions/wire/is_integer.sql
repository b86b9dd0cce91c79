-- Whether a JSON value is an integer that fits PostgreSQL's: 7 and 7.0 are, 7.5, "7" and 1e400 are not.
-- A value that is missing is none. The guard is immutable, so that a plan made for one value cannot meet the cast first.
create or replace function identity_sync_private.is_integer(value jsonb, minimum integer)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case jsonb_typeof(is_integer.value)
    when 'number'
    then is_integer.value::numeric between is_integer.minimum and 2147483647
      and trunc(is_integer.value::numeric) = is_integer.value::numeric
    else false
  end;
$$;

revoke all on function identity_sync_private.is_integer(jsonb, integer) from public;

comment on function identity_sync_private.is_integer(jsonb, integer) is
  'Takes a JSON value and the least integer allowed; returns whether it is an integer from there to 2147483647.';
