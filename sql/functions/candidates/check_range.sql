-- Refuses an integer outside its range. The words are made of the bounds, so that they cannot differ from the check.
create or replace function identity_sync_private.check_range(
  argument text,
  value integer,
  low integer,
  high integer,
  unit text
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.check_argument(
    argument,
    value::text,
    value >= low and value <= coalesce(high, value),
    format('%s %s', concat_ws(' to ', low, high), unit)
  );
end;
$$;

revoke all on function identity_sync_private.check_range(text, integer, integer, integer, text) from public;

comment on function identity_sync_private.check_range(text, integer, integer, integer, text) is
  'Takes an argument''s name and value, its bounds (high NULL: none) and what it counts; raises LS001 where the value is NULL or out of bounds.';
