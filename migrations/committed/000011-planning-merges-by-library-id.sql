--! Previous: sha1:fad7c62efeb19f36177aece4cc6e019de795c2ed
--! Hash: sha1:80015c17977a530a8d639ab078788780724fbf0e
--! Message: Planning merges by library id

-- The next migration begins here.
drop function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean);

--! Included functions/candidates/due_libraries.sql
-- Finds the libraries that are due and why: never asked, released, in vain long enough ago, with a stale identity, or
-- asked by another name than they have now, which may come on top. A time ahead of the clock holds nothing back. Each
-- kind is looked for where it is rare, in a statement of its own, so that PostgreSQL may read in parallel.
create or replace function identity_sync_private.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean,
  library_ids integer[] default null
)
returns table (library_id integer, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- A plan for all libraries is no plan for one.
set plan_cache_mode = force_custom_plan
-- The indexes bring the rows in the order of their ids, so that they need only be merged. Hashing a million of them
-- takes twice the processor's time.
set enable_hashjoin = off
set work_mem = '64MB'
as $$
begin
  return query
  select asked_as.library_id, 'renamed'
  from identity_sync.asked_as
  join wxyc_schema.library on library.id = asked_as.library_id
  where asked_as.fingerprint
      is distinct from identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    and (library_ids is null or asked_as.library_id = any (library_ids));

  return query
  select library.id, 'never_asked'
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)
    and (library_ids is null or library.id = any (library_ids))

  union all
  select attempt.library_id, case attempt.outcome when 'released' then 'released' else 'in_vain' end
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where (library_ids is null or attempt.library_id = any (library_ids))
    and (
      attempt.outcome = 'released'
      or attempt.outcome <> 'held'
      and (
        attempt.attempted_at <= case
          when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_before
          else retry_before
        end
        or not identity_sync_private.is_plausible_time(attempt.attempted_at)
        -- What a person had set went with its row, or to another library.
        or attempt.outcome = 'manual_precedence' and identity.library_id is null
      )
      and case
        when identity.library_id is null then library.canonical_entity_id is not null or include_null_canonical
        else identity.last_verified_at <= stale_before
          or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      end
    )

  union all
  select identity.library_id, 'stale'
  from wxyc_schema.library_identity as identity
  where (
      identity.last_verified_at <= stale_before
      or not identity_sync_private.is_plausible_time(identity.last_verified_at)
    )
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id)
    and (library_ids is null or identity.library_id = any (library_ids));
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count, and the library ids to look at (NULL: all); returns the libraries that are due and why (never_asked, released, in_vain, stale, or renamed, also of one that is due for another reason).';
--! EndIncluded functions/candidates/due_libraries.sql
--! Included functions/candidates/identity_candidates.sql
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
--! EndIncluded functions/candidates/identity_candidates.sql
--! Included functions/observe/count_catalogue.sql
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
        coalesce(attempt.outcome = 'held', false)
          or identity.library_id is not null
            and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
        library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
        coalesce(identity.last_verified_at > stale_before, false)
      ) as state,
      due.reason,
      identity.library_id is not null as is_identified,
      not coalesce(
        identity_sync_private.is_plausible_time(identity.last_verified_at)
          and coalesce(identity_sync_private.is_plausible_time(attempt.attempted_at), true),
        identity_sync_private.is_plausible_time(attempt.attempted_at),
        true
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
--! EndIncluded functions/observe/count_catalogue.sql
--! Included functions/observe/explain_due.sql
-- Why a library is due or is not, in one sentence that begins with the answer. It asks due_libraries, so that it says
-- what planning does.
create or replace function identity_sync_private.explain_due(
  library_id integer,
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  library wxyc_schema.library;
  identity wxyc_schema.library_identity;
  attempt identity_sync.attempt;
  stale_before timestamptz;
  retry_before timestamptz;
  reason text;
  state text;
  window_days integer;
  due_at timestamptz;
  sentence text;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  select * into library from wxyc_schema.library as asked where asked.id = explain_due.library_id;
  select * into identity from wxyc_schema.library_identity as known where known.library_id = explain_due.library_id;
  select * into attempt from identity_sync.attempt as known where known.library_id = explain_due.library_id;
  select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))
  into reason
  from identity_sync_private.due_libraries(
    stale_before, retry_before, include_null_canonical, array[explain_due.library_id]
  ) as due;

  state := identity_sync_private.state_of_library(
    identity_sync_private.has_name(library.artist_name),
    library.id not in (select identity_sync_private.libraries_not_on_discogs()),
    reason is not null,
    coalesce(attempt.outcome = 'held', false)
      or identity.library_id is not null and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
    library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
    coalesce(identity.last_verified_at > stale_before, false)
  );
  window_days := case
    when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_days
    else unresolved_retry_days
  end;
  -- Of a row that both a mark and an identity keep from being due, the later end counts.
  due_at := case
    when state = 'due' then clock_timestamp()
    when state in ('fresh', 'waiting', 'held') and attempt.outcome is distinct from 'held' then greatest(
      identity.last_verified_at + make_interval(days => stale_days),
      attempt.attempted_at + make_interval(days => window_days)
    )
  end;
  sentence := case
    when state = 'no_name' then 'never asked: it has no artist name'
    when state = 'not_on_discogs' then 'not asked: a person has said that it is not on Discogs'
    when state = 'not_canonical' then 'not asked: it has no canonical entity and no identity'
    when reason = 'never_asked' then 'due now: it was never asked'
    when reason = 'released' then format('due now: released on %s', identity_sync_private.utc(attempt.released_at))
    when reason = 'renamed' then 'due now: its artist name or album title is another than LML was asked by'
    when reason = 'in_vain' then format(
      'due now: asked in vain (%s) on %s, which holds for %s days',
      attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    when reason = 'stale' then format(
      'due now: verified on %s, stale after %s days', identity_sync_private.utc(identity.last_verified_at), stale_days
    )
    when attempt.outcome = 'held' then 'held by hand: it is not asked until it is released'
    when state = 'held' then format(
      'held by hand: asked again on %s, but left as it is until it is released', identity_sync_private.utc(due_at)
    )
    when attempt.library_id is not null then format(
      'due on %s: asked in vain (%s) on %s, which holds for %s days',
      identity_sync_private.utc(due_at), attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    else format(
      'due on %s: verified on %s, stale after %s days',
      identity_sync_private.utc(due_at), identity_sync_private.utc(identity.last_verified_at), stale_days
    )
  end;
  return jsonb_build_object(
    'is_due', state = 'due', 'state', state, 'reason', reason, 'due_at', due_at, 'sentence', sentence
  );
end;
$$;

revoke all on function identity_sync_private.explain_due(integer, integer, integer, boolean) from public;

comment on function identity_sync_private.explain_due(integer, integer, integer, boolean) is
  'Takes a library and the parameters that decide whether it is due; returns is_due, its state, the reason, when it is due and a sentence. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/explain_due.sql
