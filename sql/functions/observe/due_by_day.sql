-- How many rows become due on each of the coming days if nothing is asked before, so that a person sees a wave of calls
-- ahead. A row counts once, on the day on which due_libraries begins to list it.
create or replace function identity_sync_private.due_by_day(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean,
  days integer
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
-- The indexes bring the rows in one order, as in due_libraries.
set work_mem = '64MB'
set enable_sort = off
set enable_hashjoin = off
set jit = off
as $$
  with marked as (
    -- The rows of one answer share its time, so that the days of few groups are found and not those of all rows.
    select
      identity.last_verified_at,
      attempt.attempted_at,
      coalesce(identity_sync_private.is_short_attempt(attempt.outcome), false) as is_short,
      attempt.library_id is not null as is_in_vain,
      count(*) as libraries
    from wxyc_schema.library_identity as identity
    full join identity_sync.attempt on attempt.library_id = identity.library_id
    join wxyc_schema.library on library.id = coalesce(identity.library_id, attempt.library_id)
    where (identity.library_id is not null or library.canonical_entity_id is not null or include_null_canonical)
      and coalesce(attempt.outcome not in ('released', 'held'), true)
      and identity_sync_private.has_name(library.artist_name)
      and library.id not in (select identity_sync_private.libraries_not_on_discogs())
    group by 1, 2, 3, 4
  ),
  coming as (
    select
      -- In the order in which a mark and an identity hold a row back: the later one counts.
      greatest(
        marked.last_verified_at + make_interval(days => stale_days),
        marked.attempted_at
          + make_interval(days => case when marked.is_short then stale_days else unresolved_retry_days end)
      ) as due_at,
      marked.is_in_vain,
      marked.libraries
    from marked
  ),
  counted as (
    select
      (coming.due_at at time zone 'UTC')::date as day,
      sum(coming.libraries) filter (where not coming.is_in_vain) as stale,
      sum(coming.libraries) filter (where coming.is_in_vain) as in_vain
    from coming
    where coming.due_at > clock_timestamp()
      and coming.due_at < clock_timestamp() + make_interval(days => due_by_day.days)
    group by 1
  )
  select
    jsonb_agg(
      jsonb_build_object(
        'day', shown.day, 'stale', coalesce(counted.stale, 0), 'in_vain', coalesce(counted.in_vain, 0)
      )
      order by shown.day
    )
  from (
    select (clock_timestamp() at time zone 'UTC')::date + number as day
    from generate_series(0, due_by_day.days - 1) as number
  ) as shown
  left join counted on counted.day = shown.day;
$$;

revoke all on function identity_sync_private.due_by_day(integer, integer, boolean, integer) from public;

comment on function identity_sync_private.due_by_day(integer, integer, boolean, integer) is
  'Takes the parameters that decide which rows are due, and for how many days; returns for each day in UTC from today on the rows that become due then: stale, and in_vain whose window ends.';
