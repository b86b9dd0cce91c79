-- What an open run waits for, so that a person sees whether to do anything: most waits end by themselves, at the time
-- that is named.
create or replace function identity_sync_private.waits_of_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with unfinished as (
    select batch.*, regexp_replace(batch.leased_by, ':[^:]*$', '') as worker_name
    from identity_sync.batch
    where batch.run_id = waits_of_run.run_id and batch.closed_at is null
  ),
  last_failure as (
    select
      case
        when call.http_status is null then coalesce(call.failure, 'no answer')
        else format('LML answered %s', call.http_status)
      end as words
    from identity_sync.batch
    join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = waits_of_run.run_id and call.answered_at is not null and call.http_status is distinct from 200
    order by call.call_id desc
    limit 1
  ),
  wait as (
    select
      1 as place,
      'pause' as kind,
      run.paused_until as until,
      case
        when exists (
          select from unfinished where unfinished.deferrals > 0 and unfinished.not_before = run.paused_until
        )
        then 'LML asked for a pause (429)'
        else format('batch after batch failed, pause %s of 4', run.pauses)
          || coalesce((select ': ' || last_failure.words from last_failure), '')
      end as what
    from identity_sync.run
    where run.run_id = waits_of_run.run_id and run.paused_until > clock_timestamp()
    union all
    select
      2, 'lease', max(unfinished.leased_until),
      format(
        '%s in the hands of %s, which is silent', count(*), coalesce(unfinished.worker_name, 'a process')
      )
    from unfinished
    left join identity_sync.worker on worker.name = unfinished.worker_name
    where unfinished.leased_until >= clock_timestamp()
      and not coalesce(identity_sync_private.is_alive(worker), false)
    group by unfinished.worker_name
    union all
    select 3, 'kept_answer', null, format('answers kept until other sessions let go of their rows: %s', count(*))
    from unfinished
    where unfinished.answer is not null and unfinished.leased_by is null
    having count(*) > 0
    union all
    select
      4, 'batch', min(unfinished.not_before),
      format('batches to be tried again: %s', count(*))
        || coalesce((select '; ' || last_failure.words from last_failure), '')
    from unfinished
    join identity_sync.run on run.run_id = unfinished.run_id
    where unfinished.state = 'open'
      and unfinished.not_before > clock_timestamp()
      and not coalesce(run.paused_until > clock_timestamp(), false)
    having count(*) > 0
    union all
    select 5, 'worker', null, 'no worker is alive'
    where not exists (select from identity_sync.worker where identity_sync_private.is_alive(worker))
  )
  select
    coalesce(
      jsonb_agg(jsonb_build_object('kind', wait.kind, 'until', wait.until, 'what', wait.what) order by wait.place), '[]'
    )
  from wait;
$$;

revoke all on function identity_sync_private.waits_of_run(bigint) from public;

comment on function identity_sync_private.waits_of_run(bigint) is
  'Takes an open run; returns what it waits for (pause, lease, kept_answer, batch, worker), each with the time when that ends by itself and words.';
