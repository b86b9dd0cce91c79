-- Lists the rows that a run would ask LML for, with the cohort that decides the size of their batch.
-- A row with a blank artist name is left out, because LML would refuse its whole batch, and one that is not on Discogs
-- unless it is named; a released row is always due. A row that a run has settled is not due again before its time.
create or replace function identity_sync.identity_candidates(
  scope text default 'due',
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false,
  partition_index integer default 0,
  partition_count integer default 1,
  ids integer[] default null
)
returns table (library_id integer, cohort text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- The due rows stand in an array, whose length a plan made anew knows: a thousand are looked up, a million are joined.
set plan_cache_mode = force_custom_plan
as $$
declare
  stale_before timestamptz;
  retry_before timestamptz;
  due_ids integer[];
begin
  perform identity_sync_private.validate_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  if scope = 'due' then
    due_ids := array(
      select distinct due.library_id
      from identity_sync_private.due_libraries(
        stale_before, retry_before, include_null_canonical, identity_candidates.ids
      ) as due
    );
  end if;

  return query
  with reached as (
    select due.library_id
    from unnest(due_ids) as due (library_id)
    union all
    select library.id
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    where scope = 'refresh'
      and (
        library.canonical_entity_id is not null
        or identity.last_verified_at <= stale_before
        or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      )
    union all
    select attempt.library_id
    from identity_sync.attempt
    where scope = 'recheck' and attempt.outcome not in ('manual_precedence', 'released', 'held')
    union all
    select library.id
    from wxyc_schema.library
    where scope = 'ids' and library.id = any (identity_candidates.ids)
  )
  select candidate.id, candidate.cohort
  from (
    select
      library.id,
      library.artist_name,
      identity_sync_private.cohort_of(
        library.code_volume_letters,
        exists (select from wxyc_schema.compilation_track_artist as credit where credit.library_id = library.id)
      ) as cohort
    from reached
    join wxyc_schema.library on library.id = reached.library_id
    where library.id % partition_count = partition_index
      and (identity_candidates.ids is null or library.id = any (identity_candidates.ids))
  ) as candidate
  where (scope <> 'recheck' or candidate.cohort = 'va')
    and identity_sync_private.has_name(candidate.artist_name)
    and (scope = 'ids' or candidate.id not in (select identity_sync_private.libraries_not_on_discogs()));
end;
$$;

revoke all on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[])
from public;

comment on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[]) is
  'Takes a scope (due, refresh, recheck, ids), the days after which an identity is stale and an attempt is repeated, whether rows without a canonical entity count, a partition (id % count = index) and ids to narrow it to; returns the rows a run would ask for and their cohort (va: compilation-shaped, non_va). Raises LS001 for a value out of range.';
