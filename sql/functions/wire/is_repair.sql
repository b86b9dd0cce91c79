-- A repair by hand overrides what the service may not touch, and holds what it writes against the service.
create or replace function identity_sync_private.is_repair(origin text)
returns boolean
language sql immutable parallel safe
return starts_with(origin, identity_sync_private.repair_origin(''));

revoke all on function identity_sync_private.is_repair(text) from public;

comment on function identity_sync_private.is_repair(text) is
  'Takes an origin, or the notes of a row; returns whether it is a repair by hand, NULL for NULL.';
