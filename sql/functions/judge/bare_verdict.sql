-- A verdict of which only the outcome is known: its content is not trusted, or none came.
create or replace function identity_sync_private.bare_verdict(ordinal integer, library_id integer, outcome text)
returns identity_sync_private.judged_verdict
language sql immutable parallel safe
return row(
  ordinal, library_id, outcome, null, null, null, null, null, null, null, null, null, 0, 0, 0, null, null, null, 0
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.bare_verdict(integer, integer, text) from public;

comment on function identity_sync_private.bare_verdict(integer, integer, text) is
  'Takes the number of a result (NULL: none came), a library id and an outcome; returns a judged verdict without content.';
