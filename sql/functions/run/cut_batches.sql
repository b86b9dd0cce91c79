-- Cuts the candidates of a new run into batches of one cohort each, compilations first, whose answers are the largest.
-- A library is in at most one open batch of a real run: candidates of another open run are left to it, and the run
-- notes them and it.
create or replace function identity_sync_private.cut_batches(
  run_id bigint,
  ids integer[],
  batch_size integer,
  va_batch_size integer
)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  batch_count integer;
begin
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = cut_batches.run_id;

  with in_other_run as (
    select unnest(batch.library_ids) as library_id, batch.run_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.closed_at is null and not run.dry_run and not this_run.dry_run
  ),
  candidate as (
    select due.library_id, due.cohort, in_other_run.run_id as held_by
    from identity_sync.identity_candidates(
      scope => this_run.scope,
      stale_days => this_run.stale_days,
      unresolved_retry_days => this_run.unresolved_retry_days,
      include_null_canonical => this_run.include_null_canonical,
      partition_index => this_run.partition_index,
      partition_count => this_run.partition_count,
      ids => cut_batches.ids
    ) as due
    left join in_other_run on in_other_run.library_id = due.library_id
  ),
  paged as (
    select
      candidate.library_id,
      candidate.cohort,
      (row_number() over (partition by candidate.cohort order by candidate.library_id) - 1)
        / case candidate.cohort when 'va' then va_batch_size else batch_size end as page
    from candidate
    where candidate.held_by is null
  ),
  cut as (
    insert into identity_sync.batch (run_id, cohort, library_ids)
    select cut_batches.run_id, paged.cohort, array_agg(paged.library_id order by paged.library_id)
    from paged
    group by paged.cohort, paged.page
    order by paged.cohort desc, paged.page
    returning batch.library_ids
  ),
  planned as (
    update identity_sync.run
    set
      planned = (select coalesce(sum(cardinality(cut.library_ids)), 0) from cut),
      in_other_runs = array(
        select candidate.library_id from candidate where candidate.held_by is not null order by candidate.library_id
      ),
      held_by_runs = array(
        select distinct candidate.held_by from candidate where candidate.held_by is not null order by candidate.held_by
      )
    where run.run_id = cut_batches.run_id
  )
  select count(*)
  into batch_count
  from cut;

  return batch_count;
end;
$$;

revoke all on function identity_sync_private.cut_batches(bigint, integer[], integer, integer) from public;

comment on function identity_sync_private.cut_batches(bigint, integer[], integer, integer) is
  'Takes a run just opened, the library ids that it is limited to (NULL: no limit), and the libraries a batch of either cohort; returns the number of batches made.';
