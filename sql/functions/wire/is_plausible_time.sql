-- A time that says how old something is lies in the past. One that is more than a minute ahead of the clock says
-- nothing: what bears it is of unknown age, so it is due, and it overtakes no answer.
create or replace function identity_sync_private.is_plausible_time(at timestamptz)
returns boolean
language sql stable parallel safe
return at <= statement_timestamp() + interval '1 minute';

revoke all on function identity_sync_private.is_plausible_time(timestamptz) from public;

comment on function identity_sync_private.is_plausible_time(timestamptz) is
  'Takes a time or NULL; returns whether it is at most a minute ahead of the database''s clock, NULL for NULL.';
