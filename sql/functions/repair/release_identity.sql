-- Takes back a library's identity, or the hold of a repair on it: what LML composes goes, with a history row, and the
-- library is due at once, while an answer given before is a stale_verdict. The main row itself goes where no other
-- writer's column is filled; otherwise its ids of ours are emptied and its confidence is 0, so that it does not count
-- as resolved.
create or replace function identity_sync.release_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  released_at constant timestamptz := clock_timestamp();
  is_shared boolean;
  kept_history_ids integer[] := array[]::integer[];
  removals identity_sync_private.source_change[];
  removed_sources integer := 0;
begin
  perform identity_sync_private.check_reason(reason);
  if not exists (select from wxyc_schema.library where library.id = release_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  select
    num_nonnulls(
      known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
      known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
    ) > 0
  into is_shared
  from wxyc_schema.library_identity as known
  where known.library_id = release_identity.library_id
  for update;

  -- A statement that touches no row would fire the station's triggers all the same.
  if is_shared is not null then
    kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'release');
  end if;
  if is_shared then
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = null,
      musicbrainz_artist_id = null,
      wikidata_qid = null,
      spotify_id = null,
      apple_music_id = null,
      bandcamp_id = null,
      confidence = 0,
      notes = identity_sync_private.service_origin()
    where known.library_id = release_identity.library_id;
  elsif is_shared is not null then
    delete from wxyc_schema.library_identity as known where known.library_id = release_identity.library_id;
  end if;

  -- Locked first, so that the rows which are copied are the rows which go.
  select array_agg(
    row(locked.library_id, locked.source, null, null, null, 'removed', null, null)::identity_sync_private.source_change
  )
  into removals
  from (
    select known.library_id, known.source
    from wxyc_schema.library_identity_source as known
    where known.library_id = release_identity.library_id and identity_sync_private.is_ours(known.notes)
    for update
  ) as locked;
  if removals is not null then
    removed_sources := identity_sync_private.archive_sources(removals, this_settlement, reason);
    delete from wxyc_schema.library_identity_source as known
    using unnest(removals) as removal
    where known.library_id = removal.library_id and known.source = removal.source;
  end if;

  perform identity_sync_private.replace_attempt(
    library_id, 'released', released_at, this_settlement, released_at
  );

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), released_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select history.xmin
      from wxyc_schema.library_identity_history as history
      where history.history_id = any (kept_history_ids)
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'release', released_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id,
    'identity', case when is_shared is null then 'none' when is_shared then 'emptied' else 'removed' end,
    'sources_removed', removed_sources
  );
end;
$$;

revoke all on function identity_sync.release_identity(integer, text) from public;

comment on function identity_sync.release_identity(integer, text) is
  'Takes a library and why its identity is taken back; returns what became of it (none, emptied, removed) and how many source rows went. Raises LS001 for an empty reason, LS002 for an unknown library.';
