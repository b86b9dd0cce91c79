-- Puts the releases in pg_temp.release on the shelf, credited track by track as Discogs has it.

insert into wxyc_schema.artists (artist_name)
select 'Various Artists'
where not exists (select from wxyc_schema.artists where artist_name = 'Various Artists');

-- No holdings of the station: their legacy ids are negative, which no real one is, and they are not canonicalized, so that
-- a run asks for them only where they are named. Two releases with one title are one record.
insert into wxyc_schema.library (artist_id, artist_name, album_title, code_volume_letters, legacy_release_id)
select distinct on (release.album_title)
  various.id, release.artist_name, release.album_title, 'Z', -release.discogs_release_id
from pg_temp.release
cross join (select min(id) as id from wxyc_schema.artists where artist_name = 'Various Artists') as various
order by release.album_title, release.discogs_release_id;

-- As in production 78 % of the credits have no position: here all but two of nine.
insert into wxyc_schema.compilation_track_artist (library_id, artist_name, track_title, track_position)
select
  library.id,
  credit.artist ->> 'name',
  track.entry ->> 'track_title',
  case
    when row_number() over (order by library.id, track.ordinal, credit.ordinal) % 9 < 2
    then track.entry ->> 'track_position'
  end
from wxyc_schema.library
join pg_temp.release on release.discogs_release_id = -library.legacy_release_id
cross join lateral jsonb_array_elements(release.tracks) with ordinality as track (entry, ordinal)
cross join lateral jsonb_array_elements(track.entry -> 'artists') with ordinality as credit (artist, ordinal)
where library.legacy_release_id < 0
order by library.id, track.ordinal, credit.ordinal
on conflict do nothing;

analyze wxyc_schema.artists, wxyc_schema.library, wxyc_schema.compilation_track_artist;
