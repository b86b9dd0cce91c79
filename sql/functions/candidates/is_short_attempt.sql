-- Whether an attempt holds a row back for no longer than an identity does: a person may have released the row since,
-- or LML may have read its tracks. Any other attempt was in vain, and lasts for the retry window.
create or replace function identity_sync_private.is_short_attempt(outcome text)
returns boolean
language sql immutable parallel safe
return outcome in ('manual_precedence', 'compilation_unread');

revoke all on function identity_sync_private.is_short_attempt(text) from public;

comment on function identity_sync_private.is_short_attempt(text) is
  'Takes the outcome of an attempt or NULL; returns whether it runs out after stale_days, and not after unresolved_retry_days, NULL for NULL.';
