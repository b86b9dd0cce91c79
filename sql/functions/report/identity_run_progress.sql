-- How far a run is, cheap enough for a progress bar that polls several times a second.
create or replace function identity_sync.identity_run_progress(run_id bigint)
returns table (planned integer, done integer, finished_at timestamptz, trace_id text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    run.planned,
    (
      select coalesce(sum(cardinality(batch.library_ids)), 0)::integer
      from identity_sync.batch
      where batch.run_id = run.run_id and batch.is_done
    ),
    run.finished_at,
    run.trace_id
  from identity_sync.run
  where run.run_id = identity_run_progress.run_id;
$$;

revoke all on function identity_sync.identity_run_progress(bigint) from public;

comment on function identity_sync.identity_run_progress(bigint) is
  'Takes a run; returns the rows planned, the rows done so far (answered, quarantined or failed), when it ended, and its trace; no row for an unknown run.';
