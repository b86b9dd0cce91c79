-- Where the lines of data/library.tsv.gz land: its columns, in its order.
-- All text, because a COPY that fails leaves postgres.js waiting for ever; load.sql judges the values.

create temp table dump (
  library_id text,
  legacy_release_id text,
  code_id text,
  artist_name text,
  album_title text,
  station_genre text,
  format text
) on commit drop;
