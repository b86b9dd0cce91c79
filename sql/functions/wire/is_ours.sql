-- Source rows of ours go when a verdict no longer names them; another writer's stay.
create or replace function identity_sync_private.is_ours(notes text)
returns boolean
language sql immutable parallel safe
return notes = identity_sync_private.service_origin() or identity_sync_private.is_repair(notes);

revoke all on function identity_sync_private.is_ours(text) from public;

comment on function identity_sync_private.is_ours(text) is
  'Takes the notes of a row; returns whether the service or a repair wrote it, NULL for NULL.';
