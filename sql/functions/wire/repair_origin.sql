-- The origin of a repair by hand. Consumers of the tables read its first word in notes, so it never changes.
create or replace function identity_sync_private.repair_origin(name text)
returns text
language sql immutable parallel safe
return 'repair:' || name;

revoke all on function identity_sync_private.repair_origin(text) from public;

comment on function identity_sync_private.repair_origin(text) is
  'Takes who repairs, as a rule a login; returns the origin of the repair.';
