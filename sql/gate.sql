-- Shows whether the backfill is complete: psql "$DATABASE_URL" -f sql/gate.sql
-- Reads only: the count, then the first hundred library rows that keep the gate open.

select pg_catalog.set_config('search_path', 'identity_sync, pg_catalog, pg_temp', false) as path
\gset

select * from identity_sync.gate;

\echo 'Truly unresolved'
select library.id as library_id, library.artist_name, library.album_title, known.method, known.confidence,
  attempt.outcome as last_attempt, attempt.attempted_at
from wxyc_schema.library
left join wxyc_schema.library_identity as known on known.library_id = library.id
left join identity_sync.attempt on attempt.library_id = library.id
where coalesce(known.confidence < 0.70::real, true)
  and not exists (
    select
    from wxyc_schema.library as sibling
    join wxyc_schema.library_identity as resolved on resolved.library_id = sibling.id
    where sibling.artist_id = library.artist_id
      and resolved.confidence >= 0.70::real
      and resolved.method <> 'inherited'
  )
order by library.id
limit 100;
