-- Writes judged verdicts: finds out what each would change, then issues one statement a kind of change, and none where
-- nothing changes. Columns of other writers are never named, what is changed or removed is kept as it was, and every
-- statement must touch the very rows that were looked at. It does all of it or raises, so that its caller can isolate a
-- culprit; called again with the same verdicts it moves nothing but last_verified_at.
create or replace function identity_sync_private.write_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans must not be made for the empty tables of a first run: every access is by primary key, a few hundred at a time.
set enable_seqscan = off
as $$
declare
  ids integer[];
  is_repair constant boolean := starts_with(origin, 'repair:');
  reason constant text := format('verdict of %s, settlement %s', origin, settlement_id);
  settled identity_sync_private.write_result;
  fresh identity_sync_private.judged_verdict[];
  differing identity_sync_private.judged_verdict[];
  differing_versions tid[];
  confirmed_ids integer[];
  confirmed_versions tid[];
  -- Those whose source rows have to be compared, and how many source rows the others bring.
  to_compare identity_sync_private.judged_verdict[];
  fresh_sources integer;
  changes identity_sync_private.source_change[];
  touched integer;
begin
  select array_agg(verdict.library_id), sum(cardinality(verdict.sources))
  into ids, fresh_sources
  from unnest(verdicts) as verdict;

  settled.inserted := '{}';
  settled.changed := '{}';
  settled.unchanged := '{}';
  settled.manual_precedence := '{}';
  settled.stale_verdict := '{}';
  if exists (select from wxyc_schema.library_identity as known where known.library_id = any (ids)) then
    select
      array_agg(compared.verdict) filter (where compared.fate = 'change'),
      array_agg(compared.version) filter (where compared.fate = 'change'),
      array_agg(compared.library_id)
        filter (where compared.fate = 'confirm' and compared.last_verified_at < write_verdicts.verified_at),
      array_agg(compared.version)
        filter (where compared.fate = 'confirm' and compared.last_verified_at < write_verdicts.verified_at),
      sum(cardinality((compared.verdict).sources)) filter (where compared.fate = 'insert'),
      coalesce(array_agg(compared.library_id) filter (where compared.fate = 'insert'), '{}'),
      coalesce(array_agg(compared.library_id) filter (where compared.fate = 'change'), '{}'),
      coalesce(array_agg(compared.library_id) filter (where compared.fate = 'confirm'), '{}'),
      coalesce(array_agg(compared.library_id) filter (where compared.fate = 'hold'), '{}'),
      coalesce(array_agg(compared.library_id) filter (where compared.fate = 'overtaken'), '{}')
    into
      differing, differing_versions, confirmed_ids, confirmed_versions, fresh_sources,
      settled.inserted, settled.changed, settled.unchanged, settled.manual_precedence, settled.stale_verdict
    from (
      select
        verdict,
        verdict.library_id,
        known.ctid as version,
        known.last_verified_at,
        case
          when known.library_id is null then 'insert'
          when not is_repair
            and (
              starts_with(known.notes, 'repair:')
              or (known.method = 'manual' and known.notes is distinct from 'consumer:lml-bulk')
            )
          then 'hold'
          when not is_repair and known.last_verified_at > write_verdicts.verified_at then 'overtaken'
          when known.discogs_artist_id is distinct from verdict.discogs_artist_id
            or known.musicbrainz_artist_id is distinct from verdict.musicbrainz_artist_id
            or known.wikidata_qid is distinct from verdict.wikidata_qid
            or known.spotify_id is distinct from verdict.spotify_id
            or known.apple_music_id is distinct from verdict.apple_music_id
            or known.bandcamp_id is distinct from verdict.bandcamp_id
            or known.method is distinct from verdict.method
            or known.confidence is distinct from verdict.confidence
          then 'change'
          else 'confirm'
        end as fate
      from unnest(verdicts) as verdict
      left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
      offset 0
    ) as compared;
  else
    -- A first run's batches are new as a whole.
    settled.inserted := ids;
  end if;

  -- Most batches are all new or all known, and then nothing has to be picked out.
  fresh := case cardinality(settled.inserted)
    when 0 then null
    when cardinality(verdicts) then verdicts
    else array(select verdict from unnest(verdicts) as verdict where verdict.library_id = any (settled.inserted))
  end;
  to_compare := case cardinality(settled.changed || settled.unchanged)
    when 0 then null
    when cardinality(verdicts) then verdicts
    else array(
      select verdict from unnest(verdicts) as verdict
      where verdict.library_id = any (settled.changed || settled.unchanged)
    )
  end;

  if fresh is not null then
    insert into wxyc_schema.library_identity (
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes
    )
    select
      verdict.library_id, verdict.discogs_artist_id, verdict.musicbrainz_artist_id, verdict.wikidata_qid,
      verdict.spotify_id, verdict.apple_music_id, verdict.bandcamp_id,
      verdict.method, verdict.confidence, write_verdicts.verified_at, write_verdicts.origin
    from unnest(fresh) as verdict;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities inserted', cardinality(fresh), touched);
  end if;

  if differing is not null then
    settled.history_ids := identity_sync_private.archive_identities(
      settled.changed, reason, case when is_repair then 'repair' else 'verdict' end
    );
    perform identity_sync_private.assert_row_count(
      'identities kept in history', cardinality(differing), cardinality(settled.history_ids)
    );

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = verdict.discogs_artist_id,
      musicbrainz_artist_id = verdict.musicbrainz_artist_id,
      wikidata_qid = verdict.wikidata_qid,
      spotify_id = verdict.spotify_id,
      apple_music_id = verdict.apple_music_id,
      bandcamp_id = verdict.bandcamp_id,
      method = verdict.method,
      confidence = verdict.confidence,
      last_verified_at = write_verdicts.verified_at,
      notes = write_verdicts.origin
    from rows from (unnest(differing), unnest(differing_versions)) as verdict (
      ordinal, library_id, outcome, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id,
      bandcamp_id, method, confidence, sources, null_confidence, duplicate, out_of_band, version
    )
    where known.library_id = verdict.library_id and (known.ctid = verdict.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities changed', cardinality(differing), touched);
  end if;

  if confirmed_ids is not null then
    update wxyc_schema.library_identity as known
    set last_verified_at = write_verdicts.verified_at
    from unnest(confirmed_ids, confirmed_versions) as seen (library_id, version)
    where known.library_id = seen.library_id and (known.ctid = seen.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities confirmed', cardinality(confirmed_ids), touched);
  end if;

  -- A new identity has no source rows to be compared with, unless somebody else has left some.
  if fresh is not null and exists (
    select from wxyc_schema.library_identity_source as known where known.library_id = any (settled.inserted)
  )
  then
    to_compare := to_compare || fresh;
    fresh_sources := null;
  end if;

  -- The source rows beside those that are there. A row of ours that the verdict no longer names goes, another writer's
  -- stays.
  select
    array_agg(
      row(
        compared.library_id, compared.source, compared.external_id, compared.method, compared.confidence, compared.action,
        compared.version
      )::identity_sync_private.source_change
    ) filter (where compared.action in ('inserted', 'changed', 'removed')),
    count(*) filter (where compared.action = 'inserted'),
    count(*) filter (where compared.action = 'changed'),
    count(*) filter (where compared.action = 'unchanged'),
    count(*) filter (where compared.action = 'removed')
  into
    changes,
    settled.source_inserted, settled.source_changed, settled.source_unchanged, settled.source_removed
  from (
    select
      coalesce(named.library_id, known.library_id) as library_id,
      coalesce(named.source, known.source) as source,
      named.external_id,
      named.method,
      named.confidence,
      known.version,
      case
        when known.library_id is null then 'inserted'
        when named.library_id is null and (known.notes = 'consumer:lml-bulk' or starts_with(known.notes, 'repair:'))
        then 'removed'
        when named.library_id is null then 'kept'
        when named.external_id is distinct from known.external_id
          or named.method is distinct from known.method
          or named.confidence is distinct from known.confidence
        then 'changed'
        else 'unchanged'
      end as action
    from (
      select verdict.library_id, judged.source, judged.external_id, judged.method, judged.confidence
      from unnest(to_compare) as verdict
      cross join lateral unnest(verdict.sources) as judged
    ) as named
    full join (
      select
        existing.library_id, existing.source, existing.external_id, existing.method, existing.confidence, existing.notes,
        existing.ctid as version
      from wxyc_schema.library_identity_source as existing
      where existing.library_id = any (array(select verdict.library_id from unnest(to_compare) as verdict))
    ) as known on known.library_id = named.library_id and known.source = named.source
    offset 0
  ) as compared;

  if fresh_sources > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      verdict.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
      write_verdicts.verified_at, write_verdicts.origin
    from unnest(fresh) as verdict
    cross join lateral unnest(verdict.sources) as judged;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows of new identities', fresh_sources, touched);
  end if;

  if settled.source_changed + settled.source_removed > 0 then
    insert into identity_sync.superseded_source (
      settlement_id, library_id, source, action,
      external_id, method, confidence, last_verified_at, boost_sources, notes, superseded_reason
    )
    select
      write_verdicts.settlement_id, known.library_id, known.source, change.action,
      known.external_id, known.method, known.confidence, known.last_verified_at, known.boost_sources, known.notes, reason
    from unnest(changes) as change
    join wxyc_schema.library_identity_source as known
      on known.library_id = change.library_id and known.source = change.source
    where change.action in ('changed', 'removed');
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows kept', settled.source_changed + settled.source_removed, touched);
  end if;

  if settled.source_removed > 0 then
    delete from wxyc_schema.library_identity_source as known
    using unnest(changes) as change
    where change.action = 'removed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows removed', settled.source_removed, touched);
  end if;

  if settled.source_changed > 0 then
    update wxyc_schema.library_identity_source as known
    set
      external_id = change.external_id,
      method = change.method,
      confidence = change.confidence,
      last_verified_at = write_verdicts.verified_at,
      notes = write_verdicts.origin
    from unnest(changes) as change
    where change.action = 'changed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows changed', settled.source_changed, touched);
  end if;

  if settled.source_inserted > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      change.library_id, change.source, change.external_id, change.method, change.confidence,
      write_verdicts.verified_at, write_verdicts.origin
    from unnest(changes) as change
    where change.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows inserted', settled.source_inserted, touched);

    -- Undoing must know what was added to an identity that was there; of a new identity everything was.
    if cardinality(settled.changed) + cardinality(settled.unchanged) > 0 then
      insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
      select write_verdicts.settlement_id, change.library_id, change.source, change.action, reason
      from unnest(changes) as change
      where change.action = 'inserted'
        and change.library_id = any (settled.changed || settled.unchanged);
    end if;
  end if;

  -- A constraint that would speak only at the commit is heard here, where its culprit can still be found.
  set constraints all immediate;

  settled.source_inserted := settled.source_inserted + coalesce(fresh_sources, 0);
  settled.library_gone := '{}';
  settled.history_ids := coalesce(settled.history_ids, '{}');
  settled.refused := '{}';
  settled.linked_credit_ids := '{}';
  settled.positioned_credit_ids := '{}';
  settled.compilation_track := identity_sync_private.empty_report() -> 'compilation_track';
  return settled;
end;
$$;

revoke all on function identity_sync_private.write_verdicts(identity_sync_private.judged_verdict[], text, timestamptz, bigint)
from public;

comment on function identity_sync_private.write_verdicts(identity_sync_private.judged_verdict[], text, timestamptz, bigint) is
  'Takes judged single_artist verdicts, whose libraries the caller has locked, with their origin, time and settlement; writes them and returns the ids by what became of them. Raises whatever the database refuses, and LS006 where rows were changed meanwhile.';
