-- The origin of what the service writes by itself, kept in notes. Consumers of the tables read it, so it never changes.
create or replace function identity_sync_private.service_origin()
returns text
language sql immutable parallel safe
return 'consumer:lml-bulk';

revoke all on function identity_sync_private.service_origin() from public;

comment on function identity_sync_private.service_origin() is
  'Returns the origin of the service, one of the two kinds that apply_identity_verdicts allows; repair_origin makes the other.';
