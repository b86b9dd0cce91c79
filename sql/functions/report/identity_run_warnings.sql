-- What an operator should know of a run that failed in nothing: ids named that cannot be asked, what LML named and this
-- service does not know, and batches of which most track entries, and at least ten, match no credit. Then credits were
-- renamed or LML holds an older copy, and links go missing silently.
create or replace function identity_sync_private.identity_run_warnings(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with drifted as (
    select
      format(
        'batches whose track entries mostly match no credit of compilation_track_artist: %s (%s of %s entries); '
          'artist_name and track_title have drifted apart',
        count(*), sum(counted.unmatched), sum(counted.entries)
      ) as words
    from (
      select
        (settlement.report #>> '{compilation_track,no_cta_match}')::bigint as unmatched,
        (
          select sum(tally.value::bigint)
          from jsonb_each_text(settlement.report -> 'compilation_track') as tally
          where tally.key in (
            'written', 'unlinked', 'unchanged', 'librarian', 'no_cta_match', 'no_resolved_name', 'unusable'
          )
        ) as entries
      from identity_sync.run
      join identity_sync.settlement on settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
      where run.run_id = identity_run_warnings.run_id
    ) as counted
    where counted.unmatched >= 10 and counted.unmatched * 2 > counted.entries
    having count(*) > 0
  ),
  unaskable as (
    select
      format(
        'ids named that are not in library, or have no artist name there: %s%s',
        array_to_string(run.unaskable_ids[:100], ','),
        case when cardinality(run.unaskable_ids) > 100 then ', …' end
      ) as words
    from identity_sync.run
    where run.run_id = identity_run_warnings.run_id and run.unaskable_ids <> '{}'
  ),
  unknown as (
    select
      format(
        'LML named what this service does not know, sources and methods are written as they came: %s',
        string_agg(distinct named.name, ', ')
      ) as words
    from identity_sync.run
    join identity_sync.settlement on settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
    cross join lateral unnest(settlement.unknown_names) as named (name)
    where run.run_id = identity_run_warnings.run_id
    having count(*) > 0
  )
  select coalesce(jsonb_agg(warning.words), '[]')
  from (
    select words from unaskable
    union all
    select words from unknown
    union all
    select words from drifted
  ) as warning;
$$;

revoke all on function identity_sync_private.identity_run_warnings(bigint) from public;

comment on function identity_sync_private.identity_run_warnings(bigint) is
  'Takes a run; returns its warnings as a JSON array of texts, empty where there are none.';
