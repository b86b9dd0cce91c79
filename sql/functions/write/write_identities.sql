-- Writes compared identities, one statement a kind of change, and none where nothing changes. Columns of other writers
-- are never named; a row goes to the history before it changes. Each statement must touch the very rows compared.
create or replace function identity_sync_private.write_identities(
  identities identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  reason text
)
returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans must not be made for the empty tables of a first run: every access is by primary key, a few hundred at a time.
set enable_seqscan = off
set jit = off
as $$
declare
  inserted integer;
  changed_ids integer[];
  confirmed_ids integer[];
  confirmed_versions tid[];
  history_ids integer[] := '{}'::integer[];
  touched integer;
begin
  select
    count(*) filter (where identity.action = 'inserted'),
    array_agg(identity.library_id) filter (where identity.action = 'changed'),
    array_agg(identity.library_id) filter (where identity.action = 'unchanged' and identity.version is not null),
    array_agg(identity.version) filter (where identity.action = 'unchanged' and identity.version is not null)
  into inserted, changed_ids, confirmed_ids, confirmed_versions
  from unnest(identities) as identity;

  if inserted > 0 then
    insert into wxyc_schema.library_identity (
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes
    )
    select
      identity.library_id, identity.discogs_artist_id, identity.musicbrainz_artist_id, identity.wikidata_qid,
      identity.spotify_id, identity.apple_music_id, identity.bandcamp_id,
      identity.method, identity.confidence, write_identities.verified_at, write_identities.origin
    from unnest(identities) as identity
    where identity.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities inserted', inserted, touched);
  end if;

  if changed_ids is not null then
    history_ids := identity_sync_private.archive_identities(
      changed_ids, reason, case when identity_sync_private.is_repair(origin) then 'repair' else 'verdict' end
    );
    perform identity_sync_private.assert_row_count(
      'identities kept in history', cardinality(changed_ids), cardinality(history_ids)
    );

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = identity.discogs_artist_id,
      musicbrainz_artist_id = identity.musicbrainz_artist_id,
      wikidata_qid = identity.wikidata_qid,
      spotify_id = identity.spotify_id,
      apple_music_id = identity.apple_music_id,
      bandcamp_id = identity.bandcamp_id,
      method = identity.method,
      confidence = identity.confidence,
      last_verified_at = write_identities.verified_at,
      notes = write_identities.origin
    from unnest(identities) as identity
    where identity.action = 'changed'
      and known.library_id = identity.library_id
      and (known.ctid = identity.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities changed', cardinality(changed_ids), touched);
  end if;

  -- Nearly all rows of nearly all batches, so they come as two slim lists.
  if confirmed_ids is not null then
    update wxyc_schema.library_identity as known
    set last_verified_at = write_identities.verified_at
    from unnest(confirmed_ids, confirmed_versions) as seen (library_id, version)
    where known.library_id = seen.library_id and (known.ctid = seen.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities confirmed', cardinality(confirmed_ids), touched);
  end if;

  return history_ids;
end;
$$;

revoke all on function identity_sync_private.write_identities(
  identity_sync_private.judged_verdict[], text, timestamptz, text
) from public;

comment on function identity_sync_private.write_identities(
  identity_sync_private.judged_verdict[], text, timestamptz, text
) is
  'Takes compared verdicts with their origin, time and the reason for the history; writes their main rows and returns the history rows. Raises LS006 where another writer or a trigger interfered.';
