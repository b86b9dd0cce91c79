-- Shows where one identity may stand for two acts: LML answers by name alone, so artists of one folded name get the
-- same ids. Each row is a library that shares an id with a library of another artist of that name; whether they are one
-- act is for a person to say.
create or replace view identity_sync.homonyms as
with carried as (
  select
    same.name,
    library.id as library_id,
    library.artist_id,
    artist.artist_name,
    library.album_title,
    id.kind,
    id.external_id,
    min(library.artist_id) over by_id <> max(library.artist_id) over by_id as is_shared
  from (
    select wxyc_schema.fold_artist_name(artists.artist_name) as name
    from wxyc_schema.artists
    group by 1
    having count(*) > 1
  ) as same
  -- Fences: these names are few, and the planner takes them for a third of all.
  cross join lateral (
    select artists.id, artists.artist_name
    from wxyc_schema.artists
    where wxyc_schema.fold_artist_name(artists.artist_name) = same.name
    offset 0
  ) as artist
  cross join lateral (
    select library.id, library.artist_id, library.album_title
    from wxyc_schema.library
    where library.artist_id = artist.id
    offset 0
  ) as library
  cross join lateral (
    select known.*
    from wxyc_schema.library_identity as known
    where known.library_id = library.id
    offset 0
  ) as known
  cross join lateral (
    values
      ('discogs_artist_id', known.discogs_artist_id::text),
      ('musicbrainz_artist_id', known.musicbrainz_artist_id),
      ('wikidata_qid', known.wikidata_qid),
      ('spotify_id', known.spotify_id),
      ('apple_music_id', known.apple_music_id),
      ('bandcamp_id', known.bandcamp_id)
  ) as id (kind, external_id)
  where id.external_id is not null
  window by_id as (partition by same.name, id.kind, id.external_id)
)
select
  carried.name,
  carried.library_id,
  carried.artist_id,
  carried.artist_name,
  carried.album_title,
  jsonb_object_agg(carried.kind, carried.external_id) as shared_ids
from carried
where carried.is_shared
group by 1, 2, 3, 4, 5
order by 1, 3, 2;

comment on view identity_sync.homonyms is
  'Library rows that share an id with a row of another artist of the same folded name: that name, the library, its artist, and the shared ids by column.';
