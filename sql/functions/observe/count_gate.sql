-- Counts what the view gate shows. It is a function for its settings: the artists that are resolved are hashed, which
-- takes more memory than a session has by default, and the indexes bring the rows in one order, as in due_libraries.
create or replace function identity_sync_private.count_gate()
returns table (
  truly_unresolved bigint,
  libraries bigint,
  resolved bigint,
  resolved_by_artist bigint,
  no_name bigint,
  not_on_discogs bigint,
  compilation bigint,
  unresolved bigint,
  refused bigint,
  never_asked bigint,
  other bigint
)
language sql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
set enable_sort = off
set enable_hashjoin = off
set enable_nestloop = off
set jit = off
as $$
  select
    count(*) filter (where counted.cause is not null),
    count(*),
    count(*) filter (where counted.is_resolved),
    count(*) filter (where not counted.is_resolved and counted.artist_is_resolved),
    count(*) filter (where counted.cause = 'no_name'),
    count(*) filter (where counted.cause = 'not_on_discogs'),
    count(*) filter (where counted.cause = 'compilation'),
    count(*) filter (where counted.cause = 'unresolved'),
    count(*) filter (where counted.cause = 'refused'),
    count(*) filter (where counted.cause = 'never_asked'),
    count(*) filter (where counted.cause = 'other')
  from (
    select
      stood.is_resolved,
      stood.artist_is_resolved,
      case
        when stood.is_resolved or stood.artist_is_resolved then null
        when not identity_sync_private.has_name(stood.artist_name) then 'no_name'
        when stood.id in (select identity_sync_private.libraries_not_on_discogs()) then 'not_on_discogs'
        when stood.outcome in ('compilation', 'unresolved') then stood.outcome
        when stood.outcome in ('invalid_verdict', 'writer_error', 'poison_input') then 'refused'
        when stood.outcome is not null or stood.has_identity then 'other'
        else 'never_asked'
      end as cause
    from (
      select
        library.id,
        library.artist_name,
        attempt.outcome,
        known.library_id is not null as has_identity,
        -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
        coalesce(known.confidence >= 0.70::real, false) as is_resolved,
        library.artist_id in (
          select sibling.artist_id
          from wxyc_schema.library_identity as resolved
          join wxyc_schema.library as sibling on sibling.id = resolved.library_id
          where resolved.confidence >= 0.70::real and resolved.method <> 'inherited'
        ) as artist_is_resolved
      from wxyc_schema.library
      left join wxyc_schema.library_identity as known on known.library_id = library.id
      left join identity_sync.attempt on attempt.library_id = library.id
      -- Fences, so that the state and the cause of a row are found once and not once a counter.
      offset 0
    ) as stood
    offset 0
  ) as counted;
$$;

revoke all on function identity_sync_private.count_gate() from public;

comment on function identity_sync_private.count_gate() is
  'Returns one row: the libraries, those resolved, resolved by another row of their artist, and truly unresolved, the last by cause.';
