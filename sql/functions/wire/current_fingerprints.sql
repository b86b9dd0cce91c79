-- The questions that LML would be asked now, in the order of the ids. Stable, so that a request made in the same
-- statement asks exactly these.
create or replace function identity_sync_private.current_fingerprints(library_ids integer[])
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select array_agg(
    case
      when identity_sync_private.has_name(library.artist_name)
      then identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    end
    order by listed.place
  )
  from unnest(library_ids) with ordinality as listed (id, place)
  left join wxyc_schema.library on library.id = listed.id;
$$;

revoke all on function identity_sync_private.current_fingerprints(integer[]) from public;

comment on function identity_sync_private.current_fingerprints(integer[]) is
  'Takes library ids; returns the fingerprint of each in their order, NULL where a library is gone or has no artist name.';
