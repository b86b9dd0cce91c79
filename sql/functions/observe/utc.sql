-- A time within a sentence, in UTC and saying so, since the reader's zone is not known.
create or replace function identity_sync_private.utc(at timestamptz)
returns text
language sql immutable parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"');

revoke all on function identity_sync_private.utc(timestamptz) from public;

comment on function identity_sync_private.utc(timestamptz) is
  'Takes a time; returns it to the minute in UTC, NULL for NULL.';
