-- The text of a field that is to be a string. A number may have eight bytes in jsonb and 131,072 digits as text, so
-- nothing but a string is ever made text; what is neither a string nor null comes back blank, which no field may be.
create or replace function identity_sync_private.text_of(value jsonb)
returns text
language sql immutable parallel safe
-- PostgreSQL keeps a string that is a whole document as an array of one: ->> 0 takes half of the time of #>> '{}'.
return case when jsonb_typeof(value) = 'string' then value ->> 0 when value <> 'null' then '' end;

revoke all on function identity_sync_private.text_of(jsonb) from public;

comment on function identity_sync_private.text_of(jsonb) is
  'Takes a JSON value or NULL; returns the text of a string, NULL for null, a blank for all else.';
