-- The wire contract's rule for an integer: 7 and 7.0 are integers, 7.5, "7" and 1e400 are not.
-- The guard is immutable, so that a plan for one known value never reaches the cast of a value that is no number.
create or replace function identity_sync_private.is_integer(value jsonb, minimum integer)
returns boolean
language sql immutable parallel safe
return case jsonb_typeof(value)
  when 'number' then value::numeric between minimum and 2147483647 and trunc(value::numeric) = value::numeric
  else false
end;

revoke all on function identity_sync_private.is_integer(jsonb, integer) from public;

comment on function identity_sync_private.is_integer(jsonb, integer) is
  'Takes a JSON value or NULL, and the least integer allowed; returns whether it is an integer from there to 2147483647.';
