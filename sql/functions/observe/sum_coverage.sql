-- The view coverage by source, with what share of the catalogue each source knows. It counts for itself, since telling
-- compilations apart takes more time than all else.
create or replace function identity_sync_private.sum_coverage()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with counted as materialized (
    select 'composed' as source, known.method, known.confidence, count(*) as libraries
    from wxyc_schema.library_identity as known
    group by known.method, known.confidence
    union all
    select known.source, known.method, known.confidence, count(*)
    from wxyc_schema.library_identity_source as known
    group by known.source, known.method, known.confidence
  ),
  by_method as (
    select counted.source, counted.method, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.method
  ),
  by_band as (
    select
      counted.source,
      identity_sync_private.confidence_band(counted.confidence) as confidence_band,
      sum(counted.libraries) as libraries
    from counted
    group by 1, 2
  ),
  by_source as (
    select by_method.source, sum(by_method.libraries) as libraries, jsonb_object_agg(method, libraries) as methods
    from by_method
    group by by_method.source
  )
  select
    coalesce(
      jsonb_object_agg(
        by_source.source,
        jsonb_build_object(
          'libraries', by_source.libraries,
          'share', round(by_source.libraries / (select count(*) from wxyc_schema.library), 4),
          'methods', by_source.methods,
          'bands', (
            select jsonb_object_agg(by_band.confidence_band, by_band.libraries)
            from by_band
            where by_band.source = by_source.source
          )
        )
      ),
      '{}'
    )
  from by_source;
$$;

revoke all on function identity_sync_private.sum_coverage() from public;

comment on function identity_sync_private.sum_coverage() is
  'Returns for each source, and for composed, the libraries that have it, their share of the catalogue, and how many by method and by band of confidence.';
