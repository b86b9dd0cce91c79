-- The request body of a batch, made from the catalogue's rows as they are now, so that a corrected name is the one
-- sent. Rows that are gone or have lost their artist name are left out: LML would refuse the whole batch.
create or replace function identity_sync.identity_batch_request(batch_id bigint)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  requested constant integer[] := (
    select batch.library_ids from identity_sync.batch where batch.batch_id = identity_batch_request.batch_id
  );
begin
  if requested is null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no batch %s', coalesce(batch_id::text, 'NULL'));
  end if;

  return (
    select
      '{"inputs":['
      || string_agg(
        json_build_object(
          'library_id', library.id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'legacy_release_id', library.legacy_release_id
        )::text,
        ','
        order by library.id
      )
      || '],"include_tracks":true}'
    from wxyc_schema.library
    where library.id = any (requested)
      and identity_sync_private.has_name(library.artist_name)
  );
end;
$$;

revoke all on function identity_sync.identity_batch_request(bigint) from public;

comment on function identity_sync.identity_batch_request(bigint) is
  'Takes a batch; returns the JSON text to POST to LML for it, NULL where no row is left to request. Raises LS002 for an unknown batch.';
