-- Production's identity tables, as the station's own migrations made them: under names of their own, and with rows of
-- several writers in them. To be run after the backend's tables, by the role that owns those.

create table wxyc_schema.library_identity (
  library_id integer not null,
  discogs_master_id integer,
  discogs_release_id integer,
  musicbrainz_release_group_mbid uuid,
  musicbrainz_release_mbid uuid,
  musicbrainz_recording_mbid uuid,
  wikidata_qid text,
  spotify_id text,
  apple_music_id text,
  last_verified_at timestamptz default now() not null,
  method text not null,
  confidence real not null,
  agreement_sources text,
  notes text,
  distinct_unresolved_sources integer generated always as (
    num_nulls(
      discogs_master_id, discogs_release_id,
      musicbrainz_release_group_mbid, musicbrainz_release_mbid, musicbrainz_recording_mbid,
      wikidata_qid, spotify_id, apple_music_id
    )
  ) stored,
  constraint library_identity_library_id_pk primary key (library_id),
  constraint library_identity_library_id_library_id_fk foreign key (library_id) references wxyc_schema.library (id),
  constraint library_identity_confidence_range check (confidence >= 0 and confidence <= 1)
);

create index idx_identity_worklist on wxyc_schema.library_identity (confidence, distinct_unresolved_sources desc);

create table wxyc_schema.library_identity_source (
  library_id integer not null,
  source text not null,
  external_id text not null,
  method text not null,
  confidence real not null,
  last_verified_at timestamptz default now() not null,
  boost_sources text,
  notes text,
  constraint library_identity_source_library_id_source_pk primary key (library_id, source),
  constraint library_identity_source_library_id_library_id_fk foreign key (library_id) references wxyc_schema.library (id),
  constraint library_identity_source_confidence_range check (confidence >= 0 and confidence <= 1)
);

create table wxyc_schema.library_identity_history (
  history_id serial,
  library_id integer not null,
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
  confidence real not null,
  agreement_sources text,
  notes text,
  superseded_at timestamptz not null default now(),
  superseded_reason text not null,
  reason_category text,
  archived_at timestamptz,
  constraint library_identity_history_history_id_pk primary key (history_id)
);

create index idx_identity_history_library on wxyc_schema.library_identity_history (library_id);

-- Puts a record on the shelf, under an artist of its own.
create function pg_temp.shelve(id integer, artist_name text, unresolved_attempted_at timestamptz default null)
returns void
language sql
as $$
  insert into wxyc_schema.artists (id, artist_name) values (id, artist_name);
  insert into wxyc_schema.library
    (id, artist_id, artist_name, album_title, legacy_release_id, canonical_entity_id, unresolved_attempted_at)
  values (id, id, artist_name, 'Untitled', 700000 + id, 'artist:' || id, unresolved_attempted_at);
$$;

-- The many records that only LML has spoken of: a main row and four source rows each, all verified three weeks ago. Of
-- every fifth the rotation job has found the release.
create function pg_temp.identify(records integer)
returns void
language sql
as $$
  select pg_temp.shelve(id, 'Artist ' || id) from generate_series(1, records) as id;

  insert into wxyc_schema.library_identity
    (library_id, discogs_release_id, musicbrainz_release_mbid, wikidata_qid, spotify_id, last_verified_at, method, confidence,
     agreement_sources, notes)
  select
    id, case when id % 5 = 0 then 5000000 + id end, case when id % 5 = 0 then md5('release ' || id)::uuid end,
    'Q' || id, md5('spotify ' || id), now() - interval '21 days', 'cross_source_agreement', 0.70 + id % 30 / 100.0,
    case when id % 5 = 0 then 'discogs,spotify' end, 'consumer:lml-bulk'
  from generate_series(1, records) as id;

  insert into wxyc_schema.library_identity_source
    (library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes)
  select
    id, leg.source, leg.external_id, 'name_variation', 0.90 + id % 10 / 100.0, now() - interval '21 days',
    case when id % 5 = 0 then 'spotify' end, 'consumer:lml-bulk'
  from generate_series(1, records) as id
  cross join lateral (
    values ('discogs', id::text), ('musicbrainz', md5('musicbrainz ' || id)), ('wikidata', 'Q' || id),
      ('spotify', md5('spotify ' || id))
  ) as leg (source, external_id);
$$;

-- The records that have a story, each described where its constant is (production.ts).

select
  pg_temp.shelve(900001, 'Stereolab'),
  pg_temp.shelve(900002, 'Cat Power'),
  pg_temp.shelve(900003, 'Yo La Tengo'),
  pg_temp.shelve(900004, 'Sun Ra'),
  pg_temp.shelve(900005, 'Broadcast'),
  pg_temp.shelve(900006, 'Nina Simone'),
  pg_temp.shelve(900007, 'The Fall'),
  pg_temp.shelve(900008, 'Cocteau Twins', now() - interval '6 days'),
  pg_temp.shelve(900009, 'Can', now() - interval '25 days'),
  pg_temp.shelve(900010, 'Neu!', now() - interval '6 days');

insert into wxyc_schema.library_identity
  (library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
   musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
   agreement_sources, notes)
values
  (900001, null, null, null, null, null, 'Q499300', '4FPGmi9Gvb0IsAKrEN5LVM', null, now() - interval '21 days',
   'exact_match', 1, null, 'consumer:lml-bulk'),
  (900002, 3172, 491204, 'f0b0b2b2-44ee-3a5d-9f44-a5e9d4c2c5f7', '2a1b6a4c-9b53-4ac5-8d7e-90b5f2b6a3f4',
   '7d1f3a55-2f3e-4f0a-a4d3-8d0f1d0b6f1e', 'Q233736', '4Z8W4fKeB5YxbusRsdQVPb', '4488522', now() - interval '21 days',
   'cross_source_agreement', 0.97, 'discogs,spotify', 'consumer:lml-bulk'),
  (900003, null, null, null, null, null, null, '3QxwnQ1ZLzJ1pRkzpLn0Mi', null, now() - interval '21 days',
   'name_variation', 0.91, null, 'consumer:lml-bulk'),
  (900004, null, null, null, null, null, 'Q313525', null, null, now() - interval '21 days',
   'alias_match', 0.8, null, 'consumer:lml-bulk'),
  (900005, null, null, null, null, null, null, 'set-by-alice', null, now() - interval '21 days',
   'exact_match', 1, null, 'repair:alice'),
  (900006, null, null, null, null, null, null, 'set-by-hand', null, now() - interval '21 days',
   'manual', 1, null, null),
  (900007, 77, 78, null, null, null, null, null, null, now() - interval '21 days',
   'rotation', 0.6, null, 'job:rotation'),
  (900009, null, null, null, null, null, null, '4l8xPGtl6DHR2uvunqrl8r', null, now() - interval '21 days',
   'exact_match', 1, null, 'consumer:lml-bulk'),
  (900010, null, null, null, null, null, null, '4lq7WVwVyMmGcKcuWYrNEE', null, now() - interval '40 days',
   'trigram', 0.7, null, 'consumer:lml-bulk');

insert into wxyc_schema.library_identity_source
  (library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes)
values
  (900001, 'discogs', '388', 'exact_match', 1, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900001, 'musicbrainz', '7e22ed0f-4a8e-4a0d-8e5c-e9e5a3dd9bd2', 'exact_match', 1, now() - interval '21 days', null,
   'consumer:lml-bulk'),
  (900001, 'wikidata', 'Q499300', 'exact_match', 1, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900001, 'spotify', '4FPGmi9Gvb0IsAKrEN5LVM', 'exact_match', 1, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900001, 'bandcamp', 'stereolab', 'exact_match', 1, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900002, 'discogs', '31506', 'exact_match', 1, now() - interval '21 days', 'spotify', 'consumer:lml-bulk'),
  (900002, 'spotify', '4Z8W4fKeB5YxbusRsdQVPb', 'name_variation', 0.97, now() - interval '21 days', 'discogs',
   'consumer:lml-bulk'),
  (900003, 'spotify', '3QxwnQ1ZLzJ1pRkzpLn0Mi', 'name_variation', 0.91, now() - interval '21 days', null,
   'consumer:lml-bulk'),
  (900003, 'discogs', '35391', 'exact_match', 1, now() - interval '90 days', null, 'job:discogs-backfill'),
  (900003, 'musicbrainz', '3f542031-b054-454d-b57b-812fa2a81b11', 'exact_match', 1, now() - interval '90 days', null, null),
  (900003, 'bandcamp', 'yolatengo', 'exact_match', 1, now() - interval '90 days', null, 'job:bandcamp-backfill'),
  (900004, 'discogs', 'sun-ra', 'alias_match', 0.8, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900004, 'wikidata', 'Q313525', 'alias_match', 0.8, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900005, 'spotify', 'set-by-alice', 'exact_match', 1, now() - interval '21 days', null, 'repair:alice'),
  (900007, 'discogs', '5678', 'exact_match', 1, now() - interval '21 days', null, 'job:rotation'),
  (900009, 'spotify', '4l8xPGtl6DHR2uvunqrl8r', 'exact_match', 1, now() - interval '21 days', null, 'consumer:lml-bulk'),
  (900010, 'spotify', '4lq7WVwVyMmGcKcuWYrNEE', 'trigram', 0.7, now() - interval '40 days', null, 'consumer:lml-bulk');

-- What was superseded before this service: its history goes on where the predecessor's ended.
insert into wxyc_schema.library_identity_history
  (library_id, spotify_id, last_verified_at, method, confidence, superseded_at, superseded_reason)
values (900001, 'an-older-one', now() - interval '90 days', 'trigram', 0.7, now() - interval '60 days', 'rotation 2025-09');
