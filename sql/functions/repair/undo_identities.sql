-- Makes main rows and source rows what they were before a settlement, one statement a kind of change. What goes or
-- changes is kept first, as by the writer, so that an undo can be undone. Columns of other writers stay as they are.
create or replace function identity_sync_private.undo_identities(
  settlement_id bigint,
  undoings identity_sync_private.undoing[],
  undo_settlement_id bigint,
  reason text,
  out inserted_ids integer[],
  out history_ids integer[],
  out removed integer,
  out restored integer,
  out sources_removed integer,
  out sources_restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  written_by constant xid[] := (
    select settlement.written_by
    from identity_sync.settlement
    where settlement.settlement_id = undo_identities.settlement_id
  );
  ids constant integer[] := array(select undoing.library_id from unnest(undoings) as undoing);
  changes identity_sync_private.source_change[];
  touched integer;
begin
  history_ids := identity_sync_private.archive_identities(
    array(
      select undoing.library_id
      from unnest(undoings) as undoing
      where undoing.is_there and (undoing.was_absent or undoing.history_id is not null)
    ),
    reason, 'undo'
  );

  delete from wxyc_schema.library_identity as known
  using unnest(undoings) as undoing
  where undoing.was_absent and known.library_id = undoing.library_id;
  get diagnostics removed = row_count;

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

  with returned as (
    insert into wxyc_schema.library_identity (
      library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
      musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
      agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id
    )
    select
      history.library_id, history.discogs_master_id, history.discogs_release_id, history.musicbrainz_release_group_mbid,
      history.musicbrainz_release_mbid, history.musicbrainz_recording_mbid, history.wikidata_qid, history.spotify_id,
      history.apple_music_id, history.last_verified_at, history.method, history.confidence,
      history.agreement_sources, history.notes, history.discogs_artist_id, history.musicbrainz_artist_id,
      history.bandcamp_id
    from unnest(undoings) as undoing
    join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
    where not undoing.is_there
    returning library_id
  )
  select coalesce(array_agg(returned.library_id), '{}')
  into inserted_ids
  from returned;
  restored := restored + cardinality(inserted_ids);

  -- What the settlement inserted goes; what it changed was kept, and comes back.
  changes := array(
    select
      row(
        known.library_id, known.source, superseded.external_id, superseded.method, superseded.confidence,
        case superseded.action when 'changed' then 'changed' else 'removed' end, known.ctid, false
      )::identity_sync_private.source_change
    from wxyc_schema.library_identity_source as known
    left join identity_sync.superseded_source as superseded
      on superseded.library_id = known.library_id
      and superseded.source = known.source
      and superseded.settlement_id = undo_identities.settlement_id
    where known.library_id = any (ids) and known.xmin = any (written_by)
  );
  perform identity_sync_private.archive_sources(changes, undo_settlement_id, reason);

  delete from wxyc_schema.library_identity_source as known
  using unnest(changes) as change
  where change.action = 'removed' and known.library_id = change.library_id and known.source = change.source;
  get diagnostics sources_removed = row_count;

  update wxyc_schema.library_identity_source as known
  set
    external_id = superseded.external_id,
    method = superseded.method,
    confidence = superseded.confidence,
    last_verified_at = superseded.last_verified_at,
    boost_sources = superseded.boost_sources,
    notes = superseded.notes
  from unnest(ids) as undone (library_id)
  join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
  where superseded.settlement_id = undo_identities.settlement_id
    and superseded.action = 'changed'
    and known.library_id = superseded.library_id
    and known.source = superseded.source;
  get diagnostics sources_restored = row_count;

  with returned as (
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes
    )
    select
      superseded.library_id, superseded.source, superseded.external_id, superseded.method, superseded.confidence,
      superseded.last_verified_at, superseded.boost_sources, superseded.notes
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_identities.settlement_id and superseded.action = 'removed'
    returning library_id, source
  )
  insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
  select undo_settlement_id, returned.library_id, returned.source, 'inserted', reason
  from returned;
  get diagnostics touched = row_count;
  sources_restored := sources_restored + touched;
end;
$$;

revoke all on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) from public;

comment on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) is
  'Takes a settlement, what of it can be taken back, the settlement of the undo and its reason; returns the main rows inserted and kept, and the counts of rows removed and restored.';
