-- A run that is over, in the few numbers that a person asks for first: what it changed, and what it could not. What
-- got no answer is no refusal: it is left.
create or replace function identity_sync_private.describe_ended_run(run identity_sync.run)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'outcome', run.outcome,
    'outcome_reason', run.outcome_reason,
    'stop_cause', run.stop_cause,
    'started_at', run.started_at,
    'finished_at', run.finished_at,
    'took_seconds', round(extract(epoch from run.finished_at - run.started_at), 1),
    'planned', run.planned,
    'scanned', (run.report ->> 'scanned')::bigint,
    'new', (run.report #>> '{identity,inserted}')::bigint,
    'changed', (run.report #>> '{identity,changed}')::bigint,
    'confirmed', (run.report #>> '{identity,unchanged}')::bigint,
    'compilations',
    (run.report ->> 'rows_resolved_compilation')::bigint + (run.report #>> '{rows_skipped,compilation}')::bigint,
    'unresolved', (run.report ->> 'rows_unresolved')::bigint,
    'refused', identity_sync_private.refused_rows(run.report #- '{rows_skipped,lml_error}'),
    'left', coalesce((run.report ->> 'left')::bigint, 0)
  );
$$;

revoke all on function identity_sync_private.describe_ended_run(identity_sync.run) from public;

comment on function identity_sync_private.describe_ended_run(identity_sync.run) is
  'Takes a run that is over; returns its outcome and times, and of its report the rows new, changed, confirmed, compilations, unresolved, refused and left.';
