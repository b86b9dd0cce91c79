-- What LML says in the body of an error: its message, an older build's detail, or the beginning of whatever came.
-- It is for people, in a log or in quarantine.
create or replace function identity_sync_private.lml_error_message(body text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  read constant jsonb := identity_sync_private.jsonb_or_null(body);
begin
  return left(
    coalesce(
      case when jsonb_typeof(read) = 'object' then coalesce(read ->> 'message', read ->> 'detail') end,
      nullif(btrim(body), ''),
      'no words'
    ),
    300
  );
end;
$$;

revoke all on function identity_sync_private.lml_error_message(text) from public;

comment on function identity_sync_private.lml_error_message(text) is
  'Takes the body of an error; returns its message in at most 300 characters.';
