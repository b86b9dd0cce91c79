-- Names what the station's tables lack by now of what this service reads and writes, so that a lost column is noticed
-- before a night's answers meet it. The preflight asks for the same columns before a migration.
create or replace function identity_sync.lost_columns()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select needed.relation || '.' || name
    from (
      values
        (
          'library',
          '{
            id, artist_id, artist_name, album_title, legacy_release_id, code_volume_letters, canonical_entity_id
          }'::text[]
        ),
        ('artists', '{id, artist_name}'),
        (
          'compilation_track_artist',
          '{
            id, library_id, artist_name, track_title, track_position, track_artist_id, track_artist_link_confidence,
            track_artist_link_method
          }'
        ),
        (
          'library_identity',
          '{
            library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid,
            musicbrainz_release_mbid, musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id,
            last_verified_at, method, confidence, agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id,
            bandcamp_id
          }'
        ),
        (
          'library_identity_source',
          '{library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes}'
        ),
        (
          'library_identity_history',
          '{
            history_id, library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid,
            musicbrainz_release_mbid, musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id,
            last_verified_at, method, confidence, agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id,
            bandcamp_id, superseded_reason, reason_category
          }'
        )
    ) as needed (relation, names)
    cross join lateral unnest(needed.names) as name
    where not exists (
      select
      from pg_attribute
      join pg_class on pg_class.oid = pg_attribute.attrelid
      join pg_namespace on pg_namespace.oid = pg_class.relnamespace
      where pg_namespace.nspname = 'wxyc_schema'
        and pg_class.relname = needed.relation
        and pg_attribute.attname = name
        and not pg_attribute.attisdropped
    )
    order by 1
  );
$$;

revoke all on function identity_sync.lost_columns() from public;

comment on function identity_sync.lost_columns() is
  'Returns the columns of wxyc_schema that this service needs and that are not there, as table.column.';
