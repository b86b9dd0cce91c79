-- A text of a track counts only where it holds more than white space.
-- The first character decides nearly every case at less cost.
create or replace function identity_sync_private.has_text(value text)
returns boolean
language sql immutable parallel safe
return ascii(value) > 32 or btrim(value, E' \t\n\v\f\r') <> '';

revoke all on function identity_sync_private.has_text(text) from public;

comment on function identity_sync_private.has_text(text) is
  'Takes a text or NULL; returns whether it holds anything but ASCII white space, NULL for NULL.';
