-- Whether a verdict may name a method: one that the wire contract knows, or one that LML has added since.
create or replace function identity_sync_private.may_be_method(method text, strict_bands boolean)
returns boolean
language sql immutable parallel safe
return identity_sync_private.is_method(method) or identity_sync_private.is_elastic(method, strict_bands);

revoke all on function identity_sync_private.may_be_method(text, boolean) from public;

comment on function identity_sync_private.may_be_method(text, boolean) is
  'Takes a method or NULL, and whether bands are strict; returns whether a verdict may name it, NULL for NULL.';
