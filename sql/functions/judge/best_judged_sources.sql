-- Keeps the provenance entry of highest confidence of each source. Among equals the ids decide and not the order, so
-- that the same entries in another order write the same row.
-- The judge calls it only for a verdict that names a source twice, so that the others need no sorting.
create or replace function identity_sync_private.best_judged_sources(named identity_sync_private.judged_source[])
returns identity_sync_private.judged_source[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(best.entry order by best.position)
  from (
    select distinct on (listed.source)
      row(
        listed.source, listed.external_id, listed.method, listed.confidence, listed.out_of_band
      )::identity_sync_private.judged_source as entry,
      listed.position
    from unnest(best_judged_sources.named) with ordinality
      as listed (source, external_id, method, confidence, out_of_band, position)
    order by
      listed.source, listed.confidence desc,
      listed.external_id collate "C", listed.method collate "C", listed.position
  ) as best;
$$;

revoke all on function identity_sync_private.best_judged_sources(identity_sync_private.judged_source[]) from public;

comment on function identity_sync_private.best_judged_sources(identity_sync_private.judged_source[]) is
  'Takes the judged sources of one verdict; returns one a source, that of highest confidence.';
