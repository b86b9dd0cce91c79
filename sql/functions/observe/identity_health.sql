-- Judges the service by its work, as the tables show it: the last successful run is recent, and open runs move unless
-- they wait for a set time. Only real runs over the catalogue count; before the first success the clock starts with the
-- first run, or with the asking process. Open runs are judged together: one may wait while another has all the calls.
create or replace function identity_sync.identity_health(
  max_age interval default '26 hours',
  max_silence interval default '2 minutes',
  process_started_at timestamptz default clock_timestamp()
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_at constant timestamptz := clock_timestamp();
  tried record;
  unfinished record;
  age interval;
  silence interval;
begin
  perform identity_sync_private.check_argument(
    'max_age', max_age::text, max_age > interval '0', 'intervals longer than 0'
  );
  perform identity_sync_private.check_argument(
    'max_silence', max_silence::text, max_silence > interval '0', 'intervals longer than 0'
  );

  select min(run.started_at) as first_at, max(run.finished_at) filter (where run.outcome = 'completed') as succeeded_at
  into tried
  from identity_sync.run
  where not run.dry_run and run.scope in ('due', 'refresh', 'recheck');

  select
    count(*) as runs,
    greatest(max(run.started_at), max(moved.closed_at), max(moved.called_at), min(moved.claimable_at)) as moved_at
  into unfinished
  from identity_sync.run
  cross join lateral (
    select
      max(batch.closed_at) as closed_at,
      max(greatest(call.started_at, call.answered_at)) as called_at,
      -- When the first open batch may be claimed: at once, after a pause, or when the lease of a dead process ends.
      min(coalesce(greatest(batch.not_before, batch.leased_until, run.paused_until), '-infinity'))
        filter (where batch.closed_at is null) as claimable_at
    from identity_sync.batch
    left join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = run.run_id
  ) as moved
  where run.finished_at is null;

  age := asked_at - coalesce(tried.succeeded_at, tried.first_at, process_started_at);
  silence := greatest(asked_at - unfinished.moved_at, interval '0');

  return jsonb_build_object(
    'last_success', jsonb_build_object(
      'ok', age <= max_age,
      'finished_at', tried.succeeded_at,
      'age_seconds', floor(extract(epoch from age)),
      'limit_seconds', floor(extract(epoch from max_age))
    ),
    'lanes', jsonb_build_object(
      'ok', unfinished.runs = 0 or silence <= max_silence,
      'open_runs', unfinished.runs,
      'silent_seconds', case when unfinished.runs > 0 then floor(extract(epoch from silence)) end,
      'limit_seconds', floor(extract(epoch from max_silence))
    ),
    'planning_holds', (
      select coalesce(jsonb_agg(hold.name order by hold.name), '[]') from identity_sync_private.holds_in_force() as hold
    )
  );
end;
$$;

revoke all on function identity_sync.identity_health(interval, interval, timestamptz) from public;

comment on function identity_sync.identity_health(interval, interval, timestamptz) is
  'Takes the greatest age of the last successful run, the longest silence of open runs, and when the asking process began; returns last_success and lanes, each with ok, its seconds and their limit, and the names of planning_holds. Raises LS001 for a limit of zero or less.';
