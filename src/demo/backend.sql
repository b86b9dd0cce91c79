-- The tables of the station's backend, as far as the service reads them: a stand-in for production's own schema.
-- The identity tables are not here: the service's migrations create them where they are missing.

create schema wxyc_schema;

create table wxyc_schema.genres (
  id serial primary key,
  genre_name varchar(64) not null unique
);

create table wxyc_schema.format (
  id serial primary key,
  format_name varchar not null unique
);

create table wxyc_schema.artists (
  id serial primary key,
  artist_name varchar(128) not null,
  add_date date not null default now(),
  last_modified timestamptz not null default now()
);

-- One name in its several spellings: composed or decomposed, with or without diacritics, in any case.
create function wxyc_schema.fold_artist_name(name text) returns text
language sql
immutable
parallel safe
return lower(regexp_replace(normalize(coalesce(name, ''), nfd), '[\u0300-\u036f]', '', 'g'));

create index artists_fold_name_idx on wxyc_schema.artists (wxyc_schema.fold_artist_name(artist_name));

create table wxyc_schema.library (
  id serial primary key,
  artist_id integer not null references wxyc_schema.artists,
  genre_id integer references wxyc_schema.genres,
  format_id integer references wxyc_schema.format,
  album_title varchar(128) not null,
  artist_name varchar(128),
  code_letters varchar(4),
  code_artist_number smallint,
  code_number smallint,
  code_volume_letters varchar(4),
  legacy_release_id integer not null unique,
  canonical_entity_id text,
  unresolved_attempted_at timestamptz,
  add_date timestamptz not null default now(),
  last_modified timestamptz not null default now()
);

create index artist_id_idx on wxyc_schema.library (artist_id);
create index library_canonical_entity_id_idx on wxyc_schema.library (canonical_entity_id);

create table wxyc_schema.compilation_track_artist (
  id serial primary key,
  library_id integer not null references wxyc_schema.library on delete cascade,
  artist_name varchar(255) not null,
  track_title varchar(255),
  track_position varchar(20),
  track_artist_id integer references wxyc_schema.artists on delete set null,
  track_artist_link_confidence real check (track_artist_link_confidence between 0 and 1),
  track_artist_link_method text
);

create index cta_library_id_idx on wxyc_schema.compilation_track_artist (library_id);
create unique index cta_unique_idx on wxyc_schema.compilation_track_artist (library_id, artist_name, track_title);

-- Two nulls are never equal to the index above, and PostgreSQL 14 knows no NULLS NOT DISTINCT.
create unique index cta_unique_null_track_idx on wxyc_schema.compilation_track_artist (library_id, artist_name)
where track_title is null;
