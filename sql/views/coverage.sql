-- Shows how much of the catalogue is identified, and how well: library rows by source, method, confidence and cohort.
-- The source "composed" stands for the main row. Compilations are few and are found first, since a join of every
-- source with its library takes three times as long.
create or replace view identity_sync.coverage as
with compilation as (
  select library.id
  from wxyc_schema.library
  left join (
    select distinct credit.library_id
    from wxyc_schema.compilation_track_artist as credit
  ) as credited on credited.library_id = library.id
  where identity_sync_private.cohort_of(library.code_volume_letters, credited.library_id is not null) = 'va'
)
select
  counted.source,
  counted.method,
  identity_sync_private.confidence_band(counted.confidence) as confidence_band,
  case when counted.is_compilation then 'va' else 'non_va' end as cohort,
  sum(counted.libraries)::bigint as libraries
from (
  -- Confidences are few, so that a band is found a group and not a row.
  select
    stored.source,
    stored.method,
    stored.confidence,
    stored.library_id in (select compilation.id from compilation) as is_compilation,
    count(*) as libraries
  from (
    select known.library_id, 'composed' as source, known.method, known.confidence
    from wxyc_schema.library_identity as known
    union all
    select known.library_id, known.source, known.method, known.confidence
    from wxyc_schema.library_identity_source as known
  ) as stored
  group by 1, 2, 3, 4
) as counted
group by 1, 2, 3, 4
order by 1, 2, 3, 4;

comment on view identity_sync.coverage is
  'Library rows with an identity (source composed) and with each source, by method, band of confidence and cohort.';
