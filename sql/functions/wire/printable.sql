-- A document that is stored or sent becomes text sooner or later, and a number of eight bytes may be 131,072 digits
-- then: one that holds such a number, or is nested too deeply to be looked through, is not kept.
create or replace function identity_sync_private.printable(document jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when document @? '$.** ? (
      @.type() == "number" && (@ > 1e100 || @ < -1e100 || (@ > -1e-100 && @ < 1e-100 && @ != 0))
    )'
    then null
    else document
  end;
exception
  when others then
    return null;
end;
$$;

revoke all on function identity_sync_private.printable(jsonb) from public;

comment on function identity_sync_private.printable(jsonb) is
  'Takes a JSON document or NULL; returns it, NULL where it holds a number beyond 1e100 or nearer to 0 than 1e-100, or cannot be looked through.';
