-- Turns the rows of the dump, just copied into pg_temp.dump, into a catalogue.

insert into wxyc_schema.genres (genre_name)
select distinct station_genre from pg_temp.dump where station_genre <> '' order by 1;

insert into wxyc_schema.format (format_name)
select distinct format from pg_temp.dump where format <> '' order by 1;

insert into wxyc_schema.artists (artist_name)
select artist_name from pg_temp.dump group by artist_name order by min(library_id::integer);

-- The dump knows neither column of the service's criterion, so both follow a rule:
-- an artist with a name and a code is canonicalized, and what LML calls a compilation by its name is shelved as one.
insert into wxyc_schema.library
  (id, artist_id, genre_id, format_id, album_title, artist_name, code_volume_letters, legacy_release_id, canonical_entity_id)
select
  dump.library_id::integer,
  artists.id,
  genres.id,
  format.id,
  dump.album_title,
  dump.artist_name,
  case when lower(dump.artist_name) ~
    '^(various|soundtrack|compilation)$|^(various artists|v/a|v\.a|soundtracks)($|[^[:alnum:]])' then 'Z' end,
  dump.legacy_release_id::integer,
  case when trim(dump.artist_name) <> '' then 'artist:' || nullif(dump.code_id, 'NULL') end
from pg_temp.dump
join wxyc_schema.artists using (artist_name)
left join wxyc_schema.genres on genres.genre_name = dump.station_genre
left join wxyc_schema.format on format.format_name = dump.format
order by 1;

select setval('wxyc_schema.library_id_seq', greatest(max(id), 1), max(id) is not null) from wxyc_schema.library;

analyze wxyc_schema.genres, wxyc_schema.format, wxyc_schema.artists, wxyc_schema.library;
