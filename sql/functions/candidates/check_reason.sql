-- Asks a person for the reason of what is done by hand, since it is kept with it.
create or replace function identity_sync_private.check_reason(reason text)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.check_argument(
    'reason', quote_nullable(reason), not identity_sync.is_blank(reason), 'a text that says why; it is kept'
  );
end;
$$;

revoke all on function identity_sync_private.check_reason(text) from public;

comment on function identity_sync_private.check_reason(text) is
  'Takes the reason of an act by hand; raises LS001 where it is NULL or blank.';
