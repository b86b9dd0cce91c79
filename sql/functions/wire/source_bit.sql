-- A bit for each source, so that a group finds in one pass whether it names a source twice: then the sum of the bits
-- differs from their union.
create or replace function identity_sync_private.source_bit(source text)
returns integer
language sql immutable parallel safe
return 1 << (array_position(identity_sync_private.sources(), source) - 1);

revoke all on function identity_sync_private.source_bit(text) from public;

comment on function identity_sync_private.source_bit(text) is
  'Takes a source or NULL; returns its bit, NULL where it is none of sources().';
