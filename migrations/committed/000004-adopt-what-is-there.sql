--! Previous: sha1:3196c877fe857598813de7f4c7249d6fe4ce0fd4
--! Hash: sha1:8db8e34a5c89c3fce9592c3dacd0c9e156093309
--! Message: adopt what is there

-- The ids that have a column since the last migration, from the source rows that the service's predecessor wrote: without
-- them the first run would find every identity different, and write tens of thousands of history rows.

with adopted as (
  select
    source.library_id,
    min(source.external_id) filter (where source.source = 'discogs' and source.external_id ~ '^[1-9][0-9]{0,8}$')::integer
      as discogs_artist_id,
    min(source.external_id) filter (where source.source = 'musicbrainz') as musicbrainz_artist_id,
    min(source.external_id) filter (where source.source = 'bandcamp') as bandcamp_id
  from wxyc_schema.library_identity_source as source
  where source.notes = 'consumer:lml-bulk' and source.source in ('discogs', 'musicbrainz', 'bandcamp')
  group by source.library_id
)
update wxyc_schema.library_identity as known
set
  discogs_artist_id = coalesce(known.discogs_artist_id, adopted.discogs_artist_id),
  musicbrainz_artist_id = coalesce(known.musicbrainz_artist_id, adopted.musicbrainz_artist_id),
  bandcamp_id = coalesce(known.bandcamp_id, adopted.bandcamp_id)
from adopted
where adopted.library_id = known.library_id
  and (
    (known.discogs_artist_id is null and adopted.discogs_artist_id is not null)
    or (known.musicbrainz_artist_id is null and adopted.musicbrainz_artist_id is not null)
    or (known.bandcamp_id is null and adopted.bandcamp_id is not null)
  );

-- The marks of rows that were asked in vain, from the backend's column where it is there: without them the first run would
-- ask thousands of rows again that were asked last week. An identity verified since then outdates its mark.

do $$
begin
  if exists (
    select from pg_attribute
    where attrelid = 'wxyc_schema.library'::regclass and attname = 'unresolved_attempted_at' and not attisdropped
  )
  then
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select library.id, 'unresolved', library.unresolved_attempted_at
    from wxyc_schema.library
    left join wxyc_schema.library_identity as known on known.library_id = library.id
    where library.unresolved_attempted_at is not null
      and coalesce(known.last_verified_at < library.unresolved_attempted_at, true)
    on conflict (library_id) do nothing;
  end if;
end;
$$;
