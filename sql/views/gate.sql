-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited. The view always has one row.
create or replace view identity_sync.gate as
select
  count(*) filter (where not counted.is_resolved and not counted.artist_is_resolved) as truly_unresolved,
  1000 as allowed,
  count(*) filter (where not counted.is_resolved and not counted.artist_is_resolved) < 1000 as is_complete,
  count(*) as libraries,
  count(*) filter (where counted.is_resolved) as resolved,
  count(*) filter (where not counted.is_resolved and counted.artist_is_resolved) as resolved_by_artist
from (
  select
    -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
    coalesce(known.confidence >= 0.70::real, false) as is_resolved,
    coalesce(
      bool_or(known.confidence >= 0.70::real and known.method <> 'inherited') over (partition by library.artist_id),
      false
    ) as artist_is_resolved
  from wxyc_schema.library
  left join wxyc_schema.library_identity as known on known.library_id = library.id
) as counted;

comment on view identity_sync.gate is
  'One row: the library rows truly unresolved, how many the station allows, whether the backfill is complete, and the rest by how it is resolved.';
