-- LML can be asked only for an artist whose name is not blank.
-- The first character decides nearly every name, at a fraction of the cost of is_blank.
create or replace function identity_sync_private.has_name(name text)
returns boolean
language sql immutable parallel safe
return coalesce(ascii(name) between 33 and 126, false) or not identity_sync.is_blank(name);

revoke all on function identity_sync_private.has_name(text) from public;

comment on function identity_sync_private.has_name(text) is
  'Takes an artist''s name or NULL; returns whether it is not blank.';
