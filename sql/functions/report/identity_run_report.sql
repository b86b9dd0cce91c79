-- The report of a run: the sum of its batches' settlements, so it counts recorded outcomes and nothing else. What is
-- left stays due: the rows of batches that are unfinished, were abandoned or failed. It grows while the run is open; a
-- finished run keeps it, and only the entries still in quarantine are counted again.
create or replace function identity_sync.identity_run_report(run_id bigint default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  select
    coalesce(
      run.report,
      (
        select identity_sync_private.sum_reports(settlement.report)
        from identity_sync.settlement
        where settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
      ),
      identity_sync_private.empty_report()
    )
    || jsonb_build_object(
      'run_id', run.run_id,
      'scope', run.scope,
      'of_run_id', run.of_run_id,
      'dry_run', run.dry_run,
      'started_at', run.started_at,
      'finished_at', run.finished_at,
      'outcome', run.outcome,
      'outcome_reason', run.outcome_reason,
      'planned', run.planned,
      'held_by_others', cardinality(run.in_other_runs),
      'held_ids', to_jsonb(run.in_other_runs[:100]),
      'held_by_runs', to_jsonb(run.held_by_runs),
      'paused_until', case when run.finished_at is null then run.paused_until end,
      'stop_cause', run.stop_cause
    )
    || case when run.report ? 'left' then '{}' else (
      select
        jsonb_build_object(
          'left', coalesce(
            sum(cardinality(batch.library_ids))
              filter (where batch.state not in ('applied', 'empty', 'poisoned', 'split')),
            0
          ),
          'batches', count(*),
          'failed_batches', count(*) filter (where batch.state = 'failed')
        )
      from identity_sync.batch
      where batch.run_id = run.run_id
    ) end
    || case when run.report ? 'left' then '{}' else (
      select
        jsonb_build_object(
          'lml_total_calls', count(*),
          'lml_total_latency_ms', coalesce(sum(lml_call.latency_ms), 0)
        )
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = run.run_id
    ) end
    || case
      when run.report ? 'left' then '{}'
      else jsonb_build_object('warnings', identity_sync_private.identity_run_warnings(run.run_id))
    end
    || (
      select jsonb_build_object('quarantined', count(*))
      from identity_sync.quarantined_verdict as entry
      join identity_sync.settlement on settlement.settlement_id = entry.settlement_id
      where settlement.run_id = run.run_id and entry.closed_at is null
    )
  into report
  from identity_sync.run
  where run.run_id = coalesce(
    identity_run_report.run_id, (select max(latest.run_id) from identity_sync.run as latest)
  );

  if report is null and identity_run_report.run_id is not null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no run %s', identity_run_report.run_id);
  end if;

  return report;
end;
$$;

revoke all on function identity_sync.identity_run_report(bigint) from public;

comment on function identity_sync.identity_run_report(bigint) is
  'Takes a run (NULL: the latest); returns its report with its outcome and the rows left; NULL where there never was a run. Raises LS002 for an unknown run.';
