-- Forgets what libraries were asked by, so that they are due whatever holds. One that is due anyway, since it was never
-- asked for all that is known, needs no such trace; the mark of another answer says that it was.
create or replace function identity_sync_private.ask_again(library_ids integer[])
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.asked_as as known (library_id, fingerprint)
  select library.id, null
  from wxyc_schema.library
  left join wxyc_schema.library_identity as identity on identity.library_id = library.id
  where library.id = any (ask_again.library_ids)
    and (
      identity.library_id is not null
      or library.canonical_entity_id is null
      or exists (select from identity_sync.attempt where attempt.library_id = library.id)
    )
  order by library.id
  on conflict (library_id) do update
  set fingerprint = null
  where known.fingerprint is not null;
$$;

revoke all on function identity_sync_private.ask_again(integer[]) from public;

comment on function identity_sync_private.ask_again(integer[]) is
  'Takes library ids; makes those due that would not be so after their rows or marks were taken back.';
