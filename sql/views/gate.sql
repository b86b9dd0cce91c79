-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited; the last seven columns say why it is not resolved, one cause a row. The view always has one row.
create or replace view identity_sync.gate as
select
  count(*) filter (where counted.cause is not null) as truly_unresolved,
  1000 as allowed,
  count(*) filter (where counted.cause is not null) < 1000 as is_complete,
  count(*) as libraries,
  count(*) filter (where counted.is_resolved) as resolved,
  count(*) filter (where not counted.is_resolved and counted.artist_is_resolved) as resolved_by_artist,
  count(*) filter (where counted.cause = 'no_name') as no_name,
  count(*) filter (where counted.cause = 'not_on_discogs') as not_on_discogs,
  count(*) filter (where counted.cause = 'compilation') as compilation,
  count(*) filter (where counted.cause = 'unresolved') as unresolved,
  count(*) filter (where counted.cause = 'refused') as refused,
  count(*) filter (where counted.cause = 'never_asked') as never_asked,
  count(*) filter (where counted.cause = 'other') as other
from (
  select
    ranked.is_resolved,
    ranked.artist_is_resolved,
    case
      when ranked.is_resolved or ranked.artist_is_resolved then null
      when not identity_sync_private.has_name(ranked.artist_name) then 'no_name'
      when ranked.id in (select identity_sync_private.libraries_not_on_discogs()) then 'not_on_discogs'
      else coalesce(
        -- One look a row that keeps the gate open: to join all attempts takes twice as long.
        (
          select
            case
              when attempt.outcome in ('compilation', 'unresolved') then attempt.outcome
              when attempt.outcome in ('invalid_verdict', 'writer_error', 'poison_input') then 'refused'
              else 'other'
            end
          from identity_sync.attempt
          where attempt.library_id = ranked.id
        ),
        case when ranked.has_identity then 'other' else 'never_asked' end
      )
    end as cause
  from (
    select
      library.id,
      library.artist_name,
      known.library_id is not null as has_identity,
      -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
      coalesce(known.confidence >= 0.70::real, false) as is_resolved,
      coalesce(
        bool_or(known.confidence >= 0.70::real and known.method <> 'inherited') over (partition by library.artist_id),
        false
      ) as artist_is_resolved
    from wxyc_schema.library
    left join wxyc_schema.library_identity as known on known.library_id = library.id
  ) as ranked
  -- A fence, so that the cause of a row is found once and not once a counter.
  offset 0
) as counted;

comment on view identity_sync.gate is
  'One row: the library rows truly unresolved, how many the station allows, whether the backfill is complete, the rest by how it is resolved, and the truly unresolved by cause: no artist name, not on Discogs, a compilation by LML''s last answer, unresolved by it, refused, never asked, and other (below 0.70, released, or left to another writer).';
