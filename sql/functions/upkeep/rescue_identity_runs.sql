-- Keeps the open runs going when processes have died: frees leases that ran out, stops runs past their deadline, ends
-- those that have nothing unfinished, and enqueues lanes for the rest, which a worker that has just joined takes up.
-- Calling it often does no harm, and tells that the calling worker lives.
create or replace function identity_sync.rescue_identity_runs(
  lanes integer,
  worker text default null,
  version text default null,
  plan_cron text default null
)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  open identity_sync.run;
  still_open integer := 0;
begin
  -- Wait for claims, so that no lease is freed while a claim renews it; and before the worker's row is held, which its
  -- claims write.
  lock table identity_sync.claim_mutex in exclusive mode;

  if worker is not null then
    insert into identity_sync.worker as known (name, turns, concurrency, version, plan_cron, seen_at)
    values (
      rescue_identity_runs.worker, 0, lanes, rescue_identity_runs.version, rescue_identity_runs.plan_cron,
      clock_timestamp()
    )
    on conflict (name) do update
    set version = excluded.version, plan_cron = excluded.plan_cron, seen_at = excluded.seen_at;
  end if;

  perform identity_sync_private.reopen_orphaned_batches();

  perform identity_sync_private.end_overdue_runs();

  for open in
    select run.* from identity_sync.run where run.finished_at is null order by run.run_id for no key update skip locked
  loop
    perform identity_sync_private.close_identity_run(open.run_id);
    -- Answers that a stopping run has kept wait for no pause.
    perform identity_sync.enqueue_lanes(
      open.run_id, lanes, case when open.stop_cause is null then open.paused_until end
    );
    still_open := still_open + 1;
  end loop;

  return still_open;
end;
$$;

revoke all on function identity_sync.rescue_identity_runs(integer, text, text, text) from public;

comment on function identity_sync.rescue_identity_runs(integer, text, text, text) is
  'Takes the lanes to enqueue for each open run, and of the calling worker its name (NULL: none), version and crontab time of planning (NULL: it plans nothing); returns how many runs are open.';
