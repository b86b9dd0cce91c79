-- Reads a confidence of the wire contract: a number from 0 to 1.
-- A number next to nothing is rounded to 12 places, because real cannot hold it.
create or replace function identity_sync_private.read_confidence(value jsonb)
returns numeric
language sql immutable parallel safe
return case
  when value between '0.000001' and '1' then value::numeric
  when value between '0' and '1' then round(value::numeric, 12)
end;

revoke all on function identity_sync_private.read_confidence(jsonb) from public;

comment on function identity_sync_private.read_confidence(jsonb) is
  'Takes a JSON value or NULL; returns it as a number, NULL where it is no number from 0 to 1.';
