-- How far each run is, for a person or a dashboard. Rows of failed batches are not done: they are due again. A finished
-- run is told by its report, since its batches are pruned one day.
create or replace view identity_sync.run_progress as
select
  run.run_id,
  run.scope,
  run.dry_run,
  run.planned,
  coalesce(
    case when run.report is null then progress.done else run.planned - coalesce((run.report ->> 'left')::bigint, 0) end,
    0
  ) as done,
  progress.batches,
  progress.batches_in_flight,
  progress.batches_failed,
  progress.batches - progress.batches_closed as batches_left,
  run.started_at,
  run.finished_at,
  coalesce(run.finished_at, clock_timestamp()) - run.started_at as took,
  run.outcome,
  run.outcome_reason,
  run.opened_by
from identity_sync.run
cross join lateral (
  select
    sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed') as done,
    count(*) as batches,
    count(*) filter (where batch.closed_at is not null) as batches_closed,
    count(*) filter (where batch.state in ('in_flight', 'answered')) as batches_in_flight,
    count(*) filter (where batch.state = 'failed') as batches_failed
  from identity_sync.batch
  where batch.run_id = run.run_id
) as progress
order by run.run_id desc;

comment on view identity_sync.run_progress is
  'A row a run, the latest first: rows planned and done so far, batches by state, when it began and ended, and how.';
