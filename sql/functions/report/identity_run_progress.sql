-- How far a run is and what it waits for, cheap enough for a progress bar that polls several times a second. Rows of
-- failed batches are not done: they are due again.
create or replace function identity_sync.identity_run_progress(run_id bigint, carried_by text default null)
returns table (
  planned integer,
  done integer,
  finished_at timestamptz,
  trace_id text,
  failed integer,
  waits_for text,
  waits_until timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    run.planned, batches.done, run.finished_at, run.trace_id, batches.failed,
    case
      when run.finished_at is not null then null
      when run.paused_until > clock_timestamp() and run.pauses > 0 then 'a pause, since batch after batch failed'
      when run.paused_until > clock_timestamp() then 'LML asked for quiet'
      when batches.due_at > clock_timestamp() and batches.in_flight_here = 0 then coalesce(
        'a call of ' || batches.held_by || ' and its lease', 'another try of what failed'
      )
    end,
    case
      when run.finished_at is not null then null
      when run.paused_until > clock_timestamp() then run.paused_until
      when batches.due_at > clock_timestamp() and batches.in_flight_here = 0 then batches.due_at
    end
  from identity_sync.run
  cross join lateral (
    select
      coalesce(
        sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed'), 0
      )::integer,
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.state = 'failed'), 0)::integer,
      count(*) filter (
        where batch.closed_at is null and starts_with(batch.leased_by, coalesce(carried_by || ':', ''))
      ),
      -- Each unfinished batch may be claimed at some time: now, after a pause, or when its lease ends.
      min(coalesce(batch.leased_until, batch.not_before, '-infinity')) filter (where batch.closed_at is null),
      (
        array_agg(
          substring(batch.leased_by from '^(.*):')
          order by coalesce(batch.leased_until, batch.not_before)
        )
          filter (where batch.closed_at is null)
      )[1]
    from identity_sync.batch
    where batch.run_id = run.run_id
  ) as batches (done, failed, in_flight_here, due_at, held_by)
  where run.run_id = identity_run_progress.run_id;
$$;

revoke all on function identity_sync.identity_run_progress(bigint, text) from public;

comment on function identity_sync.identity_run_progress(bigint, text) is
  'Takes a run and the process that carries it ("host:pid"; NULL: any); returns the rows planned, the rows done so far (answered, quarantined or gone), when it ended, its trace, the rows of failed batches, and in words what it waits for and until when (NULL: nothing); no row for an unknown run.';
