-- Makes main rows what they were before a settlement, one statement a kind of change, and none where there is no such
-- change. What goes or changes is kept first, as by the writer, so that an undo can be undone. Columns of other writers
-- stay as they are.
create or replace function identity_sync_private.undo_identities(
  undoings identity_sync_private.undoing[],
  reason text,
  out inserted_ids integer[],
  out history_ids integer[],
  out removed integer,
  out restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  kept_ids integer[];
  goes boolean;
  changes boolean;
  returns boolean;
begin
  select
    array_agg(undoing.library_id) filter (
      where undoing.is_there and (undoing.was_absent or undoing.history_id is not null)
    ),
    coalesce(bool_or(undoing.is_there and undoing.was_absent), false),
    coalesce(bool_or(undoing.is_there and undoing.history_id is not null), false),
    coalesce(bool_or(not undoing.is_there and undoing.history_id is not null), false)
  into kept_ids, goes, changes, returns
  from unnest(undoings) as undoing;
  inserted_ids := '{}';
  history_ids := '{}';
  removed := 0;
  restored := 0;

  if kept_ids is not null then
    history_ids := identity_sync_private.archive_identities(kept_ids, reason, 'undo');
  end if;

  if goes then
    delete from wxyc_schema.library_identity as known
    using unnest(undoings) as undoing
    where undoing.was_absent and known.library_id = undoing.library_id;
    get diagnostics removed = row_count;
  end if;

  if changes then
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = history.discogs_artist_id,
      musicbrainz_artist_id = history.musicbrainz_artist_id,
      wikidata_qid = history.wikidata_qid,
      spotify_id = history.spotify_id,
      apple_music_id = history.apple_music_id,
      bandcamp_id = history.bandcamp_id,
      method = history.method,
      confidence = history.confidence,
      last_verified_at = history.last_verified_at,
      notes = history.notes
    from unnest(undoings) as undoing
    join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
    where undoing.is_there and known.library_id = undoing.library_id;
    get diagnostics restored = row_count;
  end if;

  if returns then
    with returned as (
      insert into wxyc_schema.library_identity (
        library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
        musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
        agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id
      )
      select
        history.library_id, history.discogs_master_id, history.discogs_release_id,
        history.musicbrainz_release_group_mbid, history.musicbrainz_release_mbid, history.musicbrainz_recording_mbid,
        history.wikidata_qid, history.spotify_id, history.apple_music_id, history.last_verified_at, history.method,
        history.confidence, history.agreement_sources, history.notes, history.discogs_artist_id,
        history.musicbrainz_artist_id, history.bandcamp_id
      from unnest(undoings) as undoing
      join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
      where not undoing.is_there
      returning library_id
    )
    select coalesce(array_agg(returned.library_id), '{}')
    into inserted_ids
    from returned;
    restored := restored + cardinality(inserted_ids);
  end if;
end;
$$;

revoke all on function identity_sync_private.undo_identities(identity_sync_private.undoing[], text) from public;

comment on function identity_sync_private.undo_identities(identity_sync_private.undoing[], text) is
  'Takes what of a settlement can be taken back, and the reason of its undo; returns the main rows inserted and kept, and the counts of rows removed and restored.';
