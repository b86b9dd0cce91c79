-- LML adds sources and methods without asking, and both columns are texts: one that this service does not know is
-- written as it came, as long as a person can read it. Strict bands admit only what is known.
create or replace function identity_sync_private.is_elastic(word text, strict_bands boolean)
returns boolean
language sql immutable parallel safe
return not strict_bands
  and char_length(word) <= 64
  and identity_sync_private.has_name(word)
  and word !~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u00ad\\u061c]'
  and word !~ E'[\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff0-\\uffff]';

revoke all on function identity_sync_private.is_elastic(text, boolean) from public;

comment on function identity_sync_private.is_elastic(text, boolean) is
  'Takes the name of an unknown source or method, and whether bands are strict; returns whether it may be written: 1 to 64 characters, all printable and not all blank; false for NULL, and where bands are strict.';
