-- Copies main rows, as they are, into library_identity_history, in id order, before they are changed or removed.
-- A library without a main row leaves none.
create or replace function identity_sync_private.archive_identities(library_ids integer[], reason text, category text)
returns integer[]
language sql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  with superseded as (
    insert into wxyc_schema.library_identity_history (
      library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
      musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
      agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id,
      superseded_reason, reason_category
    )
    select
      known.library_id, known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
      known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.wikidata_qid, known.spotify_id,
      known.apple_music_id, known.last_verified_at, known.method, known.confidence,
      known.agreement_sources, known.notes, known.discogs_artist_id, known.musicbrainz_artist_id, known.bandcamp_id,
      archive_identities.reason, archive_identities.category
    from wxyc_schema.library_identity as known
    where known.library_id = any (archive_identities.library_ids)
    order by known.library_id
    returning history_id
  )
  select coalesce(array_agg(superseded.history_id), '{}')
  from superseded;
$$;

revoke all on function identity_sync_private.archive_identities(integer[], text, text) from public;

comment on function identity_sync_private.archive_identities(integer[], text, text) is
  'Takes library ids, why their main rows are about to change, and a category (verdict, repair, hold, release, undo); returns the history rows written.';
