-- Where the catalogue stands: every library is counted in one state, so that the states add up to its rows. Those that
-- are due are counted by reason too.
create or replace function identity_sync_private.count_catalogue(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
-- The planner takes the few states for as many groups as there are rows, and would sort them all. Its indexes bring
-- the rows in one order, as in due_libraries; only what is due is sorted.
set enable_sort = off
set enable_hashjoin = off
set enable_nestloop = off
set jit = off
as $$
declare
  stale_before timestamptz;
  retry_before timestamptz;
  counts jsonb;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  with due as (
    -- A row that was renamed may be due for another reason too, which says more.
    select named.library_id, coalesce(min(named.reason) filter (where named.reason <> 'renamed'), 'renamed') as reason
    from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as named
    group by named.library_id
  ),
  stood as (
    select
      identity_sync_private.state_of_library(
        identity_sync_private.has_name(library.artist_name),
        library.id not in (select identity_sync_private.libraries_not_on_discogs()),
        due.library_id is not null,
        attempt.outcome = 'held'
          or identity.library_id is not null
            and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
        library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
        identity.last_verified_at > stale_before
      ) as state,
      due.reason,
      identity.library_id is not null as is_identified,
      -- NULL where a time is missing, which does not count.
      not (
        identity_sync_private.is_plausible_time(identity.last_verified_at)
          and identity_sync_private.is_plausible_time(attempt.attempted_at)
      ) as is_of_unknown_age
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    left join identity_sync.attempt on attempt.library_id = library.id
    left join due on due.library_id = library.id
    -- A fence, so that the state of a row is found once.
    offset 0
  ),
  counted as (
    select
      stood.state,
      stood.reason,
      count(*) as libraries,
      count(*) filter (where stood.is_identified) as identified,
      count(*) filter (where stood.is_of_unknown_age) as unknown_age
    from stood
    group by 1, 2
  )
  select
    '{"due": 0, "fresh": 0, "waiting": 0, "held": 0, "not_canonical": 0, "not_on_discogs": 0, "no_name": 0}'::jsonb
    || coalesce(
      (
        select jsonb_object_agg(state.name, state.libraries)
        from (
          select counted.state as name, sum(counted.libraries) as libraries
          from counted
          group by counted.state
        ) as state
      ),
      '{}'
    )
    || jsonb_build_object(
      'rows', coalesce(sum(counted.libraries), 0),
      'identified', coalesce(sum(counted.identified), 0),
      'unknown_age', coalesce(sum(counted.unknown_age), 0),
      'due_by_reason',
      '{"never_asked": 0, "released": 0, "renamed": 0, "stale": 0, "in_vain": 0}'::jsonb
        || coalesce(
          jsonb_object_agg(counted.reason, counted.libraries) filter (where counted.state = 'due'), '{}'
        )
    )
  into counts
  from counted;
  return counts;
end;
$$;

revoke all on function identity_sync_private.count_catalogue(integer, integer, boolean) from public;

comment on function identity_sync_private.count_catalogue(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due; returns the rows of the catalogue by state, those due by reason, and how many are identified or of an age that is not known. Raises LS001 for a value out of range.';
