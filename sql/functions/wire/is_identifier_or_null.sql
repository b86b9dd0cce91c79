-- The wire contract's rule for an artist's id in a catalogue: a string of 1 to 512 characters that is not blank, or
-- nothing.
-- Bytes are compared first, because counting characters is slow and a string has at least as many bytes.
create or replace function identity_sync_private.is_identifier_or_null(characters text)
returns boolean
language sql immutable parallel safe
return characters is null
  or (
    identity_sync_private.has_name(characters)
    and (octet_length(characters) <= 512 or char_length(characters) <= 512)
  );

revoke all on function identity_sync_private.is_identifier_or_null(text) from public;

comment on function identity_sync_private.is_identifier_or_null(text) is
  'Takes text_of a JSON value; returns whether that is null or a string of 1 to 512 characters that is not blank.';
