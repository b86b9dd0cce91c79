-- Whether the wire contract knows a method, so that the judge and the explainer ask one list.
create or replace function identity_sync_private.is_method(method text)
returns boolean
language sql immutable parallel safe
return method = any (identity_sync_private.methods());

revoke all on function identity_sync_private.is_method(text) from public;

comment on function identity_sync_private.is_method(text) is
  'Takes a method or NULL; returns whether it is one of methods(), NULL for NULL.';
