-- Makes the report of a settlement out of its outcomes, so that no counter can say what was not recorded.
-- What was left out of a verdict's sources counts only where the verdict was written.
create or replace function identity_sync_private.build_report(
  outcomes identity_sync_private.verdict_outcome[],
  judged identity_sync_private.judged_verdict[],
  settled identity_sync_private.write_result
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with reached as (
    select
      count(*) as scanned,
      count(*) filter (where listed.outcome = 'resolved') as resolved,
      count(*) filter (where listed.outcome = 'resolved_compilation') as resolved_compilation,
      count(*) filter (where listed.outcome = 'unresolved') as unresolved
    from unnest(outcomes) as listed
  ),
  skipped as (
    select jsonb_object_agg(counted.outcome, counted.rows) as counts
    from (
      select listed.outcome, count(*) as rows
      from unnest(outcomes) as listed
      where listed.outcome not in ('resolved', 'resolved_compilation', 'unresolved')
      group by listed.outcome
    ) as counted
  ),
  left_out as (
    select
      coalesce(sum(verdict.null_confidence), 0) as null_confidence,
      coalesce(sum(verdict.duplicate), 0) as duplicate,
      coalesce(sum(verdict.out_of_band), 0) as out_of_band
    -- The outcomes of what was judged come first, and in its order.
    from rows from (unnest(outcomes), unnest(judged)) as verdict (
      result, id, reached, ordinal, library_id, outcome, discogs_artist_id, musicbrainz_artist_id, wikidata_qid,
      spotify_id, apple_music_id, bandcamp_id, method, confidence, sources, null_confidence, duplicate, out_of_band
    )
    where verdict.outcome = 'resolved' and verdict.reached = 'resolved'
  )
  select
    identity_sync_private.empty_report()
    || jsonb_build_object(
      'scanned', reached.scanned,
      'rows_resolved', reached.resolved,
      'rows_resolved_compilation', reached.resolved_compilation,
      'rows_unresolved', reached.unresolved,
      'rows_skipped', (identity_sync_private.empty_report() -> 'rows_skipped') || coalesce(skipped.counts, '{}'),
      'source_rows_skipped_null_confidence', left_out.null_confidence,
      'source_rows_skipped_duplicate', left_out.duplicate,
      'source_rows_out_of_band', left_out.out_of_band,
      'identity', jsonb_build_object(
        'inserted', cardinality(settled.inserted),
        'changed', cardinality(settled.changed),
        'unchanged', cardinality(settled.unchanged)
      ),
      'source', jsonb_build_object(
        'inserted', settled.source_inserted,
        'changed', settled.source_changed,
        'unchanged', settled.source_unchanged,
        'removed', settled.source_removed
      ),
      'compilation_track', settled.compilation_track
    )
  from reached, skipped, left_out;
$$;

revoke all on function identity_sync_private.build_report(
  identity_sync_private.verdict_outcome[], identity_sync_private.judged_verdict[], identity_sync_private.write_result
) from public;

comment on function identity_sync_private.build_report(
  identity_sync_private.verdict_outcome[], identity_sync_private.judged_verdict[], identity_sync_private.write_result
) is
  'Takes the outcomes of a settlement, its judged verdicts and what was written; returns the report.';
