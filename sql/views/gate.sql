-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited; the last seven columns say why it is not resolved, one cause a row. The view always has one row.
create or replace view identity_sync.gate as
select
  counted.truly_unresolved,
  1000 as allowed,
  counted.truly_unresolved < 1000 as is_complete,
  counted.libraries,
  counted.resolved,
  counted.resolved_by_artist,
  counted.no_name,
  counted.not_on_discogs,
  counted.compilation,
  counted.unresolved,
  counted.refused,
  counted.never_asked,
  counted.other
from identity_sync_private.count_gate() as counted;

comment on view identity_sync.gate is
  'One row: the library rows truly unresolved, how many the station allows, whether the backfill is complete, the rest by how it is resolved, and the truly unresolved by cause: no artist name, not on Discogs, a compilation by LML''s last answer, unresolved by it, refused, never asked, and other (below 0.70, released, or left to another writer).';
