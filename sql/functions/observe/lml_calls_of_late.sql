-- Whether LML is there and how fast it is, by the last hundred calls of all processes.
create or replace function identity_sync_private.lml_calls_of_late()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recent as (
    select call.*, case when call.http_status = 200 then call.latency_ms end as answer_ms
    from identity_sync.lml_call as call
    where call.answered_at is not null
    order by call.call_id desc
    limit 100
  )
  select jsonb_build_object(
    'calls_in_flight', identity_sync_private.calls_in_flight(),
    'concurrency', (
      select max(worker.concurrency) from identity_sync.worker where identity_sync_private.is_alive(worker)
    ),
    'recent_calls', count(*),
    'recent_failures', count(*) filter (where recent.http_status is distinct from 200),
    'p50_ms', round(percentile_cont(0.5) within group (order by recent.answer_ms)),
    'p95_ms', round(percentile_cont(0.95) within group (order by recent.answer_ms)),
    'last_answer', (
      select jsonb_build_object(
        'at', last.answered_at, 'http_status', last.http_status, 'latency_ms', last.latency_ms, 'failure', last.failure
      )
      from recent as last
      order by last.call_id desc
      limit 1
    )
  )
  from recent;
$$;

revoke all on function identity_sync_private.lml_calls_of_late() from public;

comment on function identity_sync_private.lml_calls_of_late() is
  'Returns the calls in flight and allowed, and of the last hundred calls how many failed, the median and 95th percentile of those answered in milliseconds, and how the last one ended.';
