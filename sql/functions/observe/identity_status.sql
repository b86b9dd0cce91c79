-- How things stand, for the screen, the page and scripts: one document, so that all of them say the same. Every key is
-- always there, times carry their zone, and nothing in it is a secret.
create or replace function identity_sync.identity_status(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'at', clock_timestamp(),
    'planning', jsonb_build_object(
      'holds', identity_sync_private.planning_holds(),
      'crons', (
        select coalesce(jsonb_agg(distinct worker.plan_cron), '[]')
        from identity_sync.worker
        where identity_sync_private.is_alive(worker)
          and worker.plan_cron is not null
      ),
      'last_success_at', (
        select max(run.finished_at)
        from identity_sync.run
        where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
      )
    ),
    'open_runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_open_run(run.run_id) order by run.run_id desc), '[]')
      from identity_sync.run
      where run.finished_at is null
    ),
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id desc), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null
        order by run.run_id desc
        limit 10
      ) as latest
    ),
    'workers', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'name', worker.name,
              'version', worker.version,
              'plan_cron', worker.plan_cron,
              'concurrency', worker.concurrency,
              'is_alive', identity_sync_private.is_alive(worker),
              'seen_at', greatest(worker.asked_at, worker.seen_at),
              'calls_in_flight', identity_sync_private.calls_in_flight(worker.name)
            )
            order by greatest(worker.asked_at, worker.seen_at) desc
          ),
          '[]'
        )
      from identity_sync.worker
      where greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '1 day'
    ),
    'lml', identity_sync_private.lml_calls_of_late(),
    'catalogue', identity_sync_private.count_catalogue(stale_days, unresolved_retry_days, include_null_canonical),
    'quarantine', (
      select
        jsonb_build_object(
          'entries', coalesce(sum(refused.entries), 0),
          'by_reason', coalesce(
            jsonb_agg(to_jsonb(refused) order by refused.entries desc, refused.latest_at desc), '[]'
          )
        )
      from (
        select
          entry.outcome,
          entry.path as field,
          entry.sqlstate,
          -- The words name the value at fault, so that of many one stands for all.
          max(coalesce(entry.message, entry.reason)) as reason,
          count(*) as entries,
          min(entry.quarantined_at) as oldest_at,
          max(entry.quarantined_at) as latest_at
        from identity_sync.quarantine as entry
        group by entry.outcome, entry.path, entry.sqlstate
      ) as refused
    ),
    'coverage', identity_sync_private.sum_coverage(),
    'gate', (select to_jsonb(gate) from identity_sync.gate)
  );
$$;

revoke all on function identity_sync.identity_status(integer, integer, boolean) from public;

comment on function identity_sync.identity_status(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns planning with its holds, open_runs, the last ten runs, workers, lml, catalogue, quarantine, coverage and gate. Raises LS001 for a value out of range.';
