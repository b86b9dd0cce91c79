-- Reads the message of an error body, for a person who looks at a log or at quarantine.
-- Newer builds of LML send message, older ones detail, and a proxy sends HTML, of which the beginning is kept.
create or replace function identity_sync_private.lml_error_message(body text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  read constant jsonb := identity_sync_private.jsonb_or_null(body);
begin
  return coalesce(
    identity_sync_private.excerpt(
      coalesce(
        case when jsonb_typeof(read) = 'object' then coalesce(
          identity_sync_private.printable(read -> 'message') #>> '{}',
          identity_sync_private.printable(read -> 'detail') #>> '{}'
        ) end,
        body
      ),
      300
    ),
    'no words'
  );
end;
$$;

revoke all on function identity_sync_private.lml_error_message(text) from public;

comment on function identity_sync_private.lml_error_message(text) is
  'Takes the body of an error; returns its message in at most 300 characters.';
