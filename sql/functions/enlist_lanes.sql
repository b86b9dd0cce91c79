-- Enqueues lanes for a run: jobs that each carry one batch after another until none is left.
-- More lanes than calls may be in flight do no harm, since claim_identity_batch holds them back; a run that is over, or
-- has nothing unfinished, gets none.
create or replace function identity_sync.enlist_lanes(run_id bigint, lanes integer)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform graphile_worker.add_job(
    'carry_identity_run', json_build_object('run_id', enlist_lanes.run_id::text), max_attempts => 3
  )
  from generate_series(
    1,
    least(
      lanes,
      (select count(*) from identity_sync.batch where batch.run_id = enlist_lanes.run_id and batch.closed_at is null)
    )
  );
end;
$$;

revoke all on function identity_sync.enlist_lanes(bigint, integer) from public;

comment on function identity_sync.enlist_lanes(bigint, integer) is
  'Takes a run and how many calls it may have in flight; enqueues that many carry_identity_run jobs, or as many as it has unfinished batches.';
