-- Where a library stands, one state each, so that the states add up to the catalogue. What can never be asked comes
-- first, then what a run would ask now, then why it would not.
create or replace function identity_sync_private.state_of_library(
  has_name boolean,
  is_on_discogs boolean,
  is_due boolean,
  is_held boolean,
  is_wanted boolean,
  is_fresh boolean
)
returns text
language sql immutable parallel safe
return case
  when not has_name then 'no_name'
  when not is_on_discogs then 'not_on_discogs'
  when is_due then 'due'
  when is_held then 'held'
  when is_fresh then 'fresh'
  when is_wanted then 'waiting'
  else 'not_canonical'
end;

revoke all on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean)
from public;

comment on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean) is
  'Takes what is known of a library (it has an artist name, may be on Discogs, is due, is held by hand, is canonicalized or has an identity, has an identity that is not stale); returns no_name, not_on_discogs, due, held, fresh, waiting or not_canonical.';
