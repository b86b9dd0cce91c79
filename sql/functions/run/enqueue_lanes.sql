-- Enqueues the lanes of a run: jobs that each carry one batch after another until none is left. Spare lanes do no harm,
-- since claim_identity_batch limits the calls in flight, and their keys keep them from piling up in the queue.
create or replace function identity_sync.enqueue_lanes(run_id bigint, lanes integer, run_at timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  perform graphile_worker.add_job(
    'carry_identity_run',
    json_build_object('run_id', enqueue_lanes.run_id::text),
    run_at => enqueue_lanes.run_at,
    max_attempts => 3,
    flags => array['lane'],
    job_key => format('carry_identity_run:%s:%s', enqueue_lanes.run_id, lane)
  )
  from generate_series(
    1,
    least(
      lanes,
      (
        select count(*)
        from identity_sync.batch
        join identity_sync.run on run.run_id = batch.run_id
        where batch.run_id = enqueue_lanes.run_id and batch.closed_at is null
          and (run.stop_reason is null or batch.answer is not null)
      )
    )
  ) as lane;
end;
$$;

revoke all on function identity_sync.enqueue_lanes(bigint, integer, timestamptz) from public;

comment on function identity_sync.enqueue_lanes(bigint, integer, timestamptz) is
  'Takes a run, a number of lanes and when they begin (NULL: now); enqueues as many carry_identity_run jobs, though no more than the run has unfinished batches; of a run that is stopping, no more than it has kept answers.';
