-- What a dashboard counts. It is read from the tables, so that every process gives the same numbers.
-- Totals are the sum of all reports of real settlements, grouped by kind: rows (whose outcomes add up to scanned),
-- source_rows, identity, source and compilation_track.
create or replace function identity_sync.identity_metrics(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with settled as (
    -- A finished run keeps its sum, so that old settlements are not added up again.
    select run.report from identity_sync.run where run.finished_at is not null and not run.dry_run
    union all
    select settlement.report
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    where not settlement.dry_run and run.finished_at is null
    union all
    -- Provides every key before the first settlement.
    select identity_sync_private.empty_report()
  ),
  total as (
    select entry.key, part.key as part, sum(coalesce(part.value, entry.value #>> '{}')::bigint) as total
    from settled
    cross join lateral jsonb_each(settled.report) as entry
    left join lateral jsonb_each_text(
      case jsonb_typeof(entry.value) when 'object' then entry.value end
    ) as part on true
    where entry.key <> 'scanned' and identity_sync_private.empty_report() ? entry.key
    group by entry.key, part.key
  ),
  by_kind as (
    select named.kind, jsonb_object_agg(coalesce(total.part, total.key), total.total) as totals
    from total
    cross join lateral (
      select
        case
          when total.key like E'source\\_rows\\_%' then 'source_rows'
          when total.key like E'rows\\_%' then 'rows'
          else total.key
        end as kind
    ) as named
    group by named.kind
  ),
  unfinished as (
    select batch.state, count(*) as batches, count(*) filter (where batch.leased_until >= clock_timestamp()) as leased
    from identity_sync.batch
    where batch.closed_at is null
    group by batch.state
  )
  select jsonb_build_object(
    'totals', (select jsonb_object_agg(by_kind.kind, by_kind.totals) from by_kind),
    'due_rows', (
      select
        jsonb_build_object(
          'va', count(*) filter (where due.cohort = 'va'), 'non_va', count(*) filter (where due.cohort = 'non_va')
        )
      from identity_sync.identity_candidates(
        stale_days => identity_metrics.stale_days,
        unresolved_retry_days => identity_metrics.unresolved_retry_days,
        include_null_canonical => identity_metrics.include_null_canonical
      ) as due
    ),
    'open_batches', (
      select jsonb_build_object('open', 0, 'in_flight', 0, 'answered', 0)
        || coalesce(jsonb_object_agg(unfinished.state, unfinished.batches), '{}')
      from unfinished
    ),
    'calls_in_flight', coalesce((select unfinished.leased from unfinished where unfinished.state = 'in_flight'), 0),
    'quarantined', (
      select
        '{"invalid_verdict": 0, "writer_error": 0, "lml_untrusted_library_id": 0, "poison_input": 0}'::jsonb
        || coalesce(jsonb_object_agg(entry.outcome, entry.entries), '{}')
      from (
        select outcome, count(*) as entries
        from identity_sync.quarantined_verdict
        where closed_at is null
        group by outcome
      ) as entry
    ),
    'planning_holds', (
      select '{"paused": 0, "key_refused": 0, "brake": 0}'::jsonb || coalesce(jsonb_object_agg(hold.name, 1), '{}')
      from identity_sync_private.holds_in_force() as hold
    ),
    'runs', (
      select
        '{"completed": 0, "failed": 0, "stopped": 0}'::jsonb
        || coalesce(jsonb_object_agg(ended.outcome, ended.runs), '{}')
      from (
        select run.outcome, count(*) as runs
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run
        group by run.outcome
      ) as ended
    ),
    'last_run', (
      select jsonb_build_object(
        'outcome', run.outcome, 'duration_seconds', extract(epoch from run.finished_at - run.started_at)
      )
      from identity_sync.run
      where run.finished_at is not null and not run.dry_run and run.scope <> 'ids'
      order by run.run_id desc
      limit 1
    ),
    'last_success_age_seconds', (
      select extract(epoch from clock_timestamp() - max(run.finished_at))
      from identity_sync.run
      where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
    )
  );
$$;

revoke all on function identity_sync.identity_metrics(integer, integer, boolean) from public;

comment on function identity_sync.identity_metrics(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns totals by kind and report key, and counts of due rows, open batches, calls in flight, quarantine, planning holds and runs, how the last run ended, and the seconds since the last success. Raises LS001 for a value out of range.';
