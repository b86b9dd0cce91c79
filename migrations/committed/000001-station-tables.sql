--! Previous: -
--! Hash: sha1:8dff03bd2e54f394738a7e6b9ad21b974a16706d
--! Message: station tables

-- The station's identity tables: production has them, with rows in them, and they are left as they are; everywhere else
-- they are made here, indexes included.

do $$
begin
  if to_regclass('wxyc_schema.library_identity') is null then
    create table wxyc_schema.library_identity (
      library_id integer primary key references wxyc_schema.library (id),
      discogs_master_id integer,
      discogs_release_id integer,
      musicbrainz_release_group_mbid uuid,
      musicbrainz_release_mbid uuid,
      musicbrainz_recording_mbid uuid,
      wikidata_qid text,
      spotify_id text,
      apple_music_id text,
      last_verified_at timestamptz not null,
      method text not null,
      confidence real not null check (confidence between 0 and 1),
      agreement_sources text,
      notes text,
      distinct_unresolved_sources integer generated always as (
        num_nulls(
          discogs_master_id, discogs_release_id,
          musicbrainz_release_group_mbid, musicbrainz_release_mbid, musicbrainz_recording_mbid,
          wikidata_qid, spotify_id, apple_music_id
        )
      ) stored
    );
    create index library_identity_confidence_unresolved_idx
      on wxyc_schema.library_identity (confidence, distinct_unresolved_sources desc);
  end if;

  if to_regclass('wxyc_schema.library_identity_source') is null then
    create table wxyc_schema.library_identity_source (
      library_id integer not null references wxyc_schema.library (id),
      source text not null,
      external_id text not null,
      method text not null,
      confidence real not null check (confidence between 0 and 1),
      last_verified_at timestamptz not null,
      boost_sources text,
      notes text,
      primary key (library_id, source)
    );
  end if;

  if to_regclass('wxyc_schema.library_identity_history') is null then
    create table wxyc_schema.library_identity_history (
      history_id serial primary key,
      library_id integer not null,
      discogs_master_id integer,
      discogs_release_id integer,
      musicbrainz_release_group_mbid uuid,
      musicbrainz_release_mbid uuid,
      musicbrainz_recording_mbid uuid,
      wikidata_qid text,
      spotify_id text,
      apple_music_id text,
      last_verified_at timestamptz,
      method text,
      confidence real,
      agreement_sources text,
      notes text,
      superseded_at timestamptz not null default now(),
      superseded_reason text not null,
      reason_category text,
      archived_at timestamptz
    );
  end if;
end;
$$;

-- The artist-level ids that LML composes and that had no column yet. Nullable and without a default: no row is rewritten,
-- and the exclusive lock is held for an instant. They are filled by the next migration, which locks rows only.

alter table wxyc_schema.library_identity
  add column if not exists discogs_artist_id integer,
  add column if not exists musicbrainz_artist_id text,
  add column if not exists bandcamp_id text;

alter table wxyc_schema.library_identity_history
  add column if not exists discogs_artist_id integer,
  add column if not exists musicbrainz_artist_id text,
  add column if not exists bandcamp_id text;

-- Every confirmation updates last_verified_at, which is in no index: half-filled pages keep those updates HOT.
alter table wxyc_schema.library_identity set (fillfactor = 50);
