-- A main row set by hand outlives the service's verdicts until it is released.
-- The service's own verdicts of method manual do not count: their notes say that the service wrote them.
create or replace function identity_sync_private.is_set_by_hand(method text, notes text)
returns boolean
language sql immutable parallel safe
return identity_sync_private.is_repair(notes)
  or (method = 'manual' and notes is distinct from identity_sync_private.service_origin());

revoke all on function identity_sync_private.is_set_by_hand(text, text) from public;

comment on function identity_sync_private.is_set_by_hand(text, text) is
  'Takes a main row''s method and notes; returns whether a person set it (NULL counts as no).';
