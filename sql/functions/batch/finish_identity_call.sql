-- Takes what came of a call and decides what becomes of its batch, by the wire contract's table of faults: an answer is
-- judged and written, a passing fault is tried again after a pause, a batch that LML refuses or chokes on is cut in two
-- until the input at fault is alone, and anything else fails the batch, whose rows stay due. A key that LML refuses stops
-- every run. A caller whose lease was lost meanwhile writes nothing.
create or replace function identity_sync.finish_identity_call(
  batch_id bigint,
  leased_by text,
  http_status integer,
  body text,
  failure text,
  latency_ms integer,
  retry_after text default null,
  max_tries integer default 3
)
returns table (outcome text, reason text, cache_stats jsonb, drift jsonb)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  this_batch identity_sync.batch;
  size integer;
  is_part boolean;
  is_stopping boolean;
  answer jsonb;
  retry_at constant timestamptz := identity_sync_private.parse_retry_after(retry_after);
  is_transient constant boolean := http_status is null or http_status in (200, 408, 425, 429) or http_status >= 500;
begin
  select batch.*
  into this_batch
  from identity_sync.batch
  where batch.batch_id = finish_identity_call.batch_id
    and batch.leased_by = finish_identity_call.leased_by
    and batch.state in ('in_flight', 'answered')
  for update;

  if not found then
    outcome := 'lost';
    return next;
    return;
  end if;

  size := cardinality(this_batch.library_ids);
  is_part := this_batch.root_batch_id is not null;
  is_stopping := exists (
    select from identity_sync.run where run.run_id = this_batch.run_id and run.stop_reason is not null
  );

  update identity_sync.lml_call
  set
    answered_at = clock_timestamp(),
    latency_ms = finish_identity_call.latency_ms,
    http_status = finish_identity_call.http_status,
    failure = finish_identity_call.failure
  where lml_call.batch_id = finish_identity_call.batch_id
    and lml_call.leased_by = finish_identity_call.leased_by
    and lml_call.answered_at is null;

  if failure is null and http_status = 200 then
    answer := identity_sync.read_identity_answer(body);
  end if;

  reason := case
    when answer is not null then null
    when failure is not null then failure
    when http_status = 200 then 'LML answered 200 with what is no answer'
    else format('LML answered %s: %s', http_status, identity_sync_private.lml_error_message(body))
  end;

  if answer is not null then
    outcome := 'applied';
    cache_stats := case when jsonb_typeof(answer -> 'cache_stats') = 'object' then answer -> 'cache_stats' end;
    perform identity_sync_private.apply_identity_batch(batch_id, answer, body);
    drift := identity_sync_private.contract_breaches(batch_id);
    perform identity_sync_private.brake_identity_run(this_batch.run_id, batch_id);
    update identity_sync.run set pauses = 0 where run.run_id = this_batch.run_id and run.pauses > 0;
    -- Where a person has asked again and was answered, the key is good.
    delete from identity_sync.planning_hold
    using identity_sync.lml_call
    where planning_hold.name = 'key_refused'
      and lml_call.batch_id = finish_identity_call.batch_id
      and lml_call.started_at > planning_hold.since;

  elsif http_status in (401, 403) then
    outcome := 'failed';
    insert into identity_sync.planning_hold as hold (name, reason, run_id)
    values ('key_refused', finish_identity_call.reason, this_batch.run_id)
    on conflict (name) do nothing;
    perform identity_sync.stop_identity_run(
      open.run_id,
      format('LML answered %s: the key is refused. Check LML_API_KEY; nothing more is asked.', http_status),
      cause => 'key'
    )
    from identity_sync.run as open
    where open.finished_at is null;
    perform identity_sync.fail_identity_batch(batch_id, reason);

  elsif is_stopping then
    outcome := 'abandoned';
    perform identity_sync_private.reopen_identity_batch(batch_id);

  elsif http_status = 429 then
    outcome := 'deferred';
    perform identity_sync_private.defer_identity_batch(batch_id, retry_at);

  elsif size = 1
    and (http_status = 422 or (http_status = 413 and identity_sync_private.has_answered_part(this_batch.root_batch_id)))
  then
    outcome := 'poison_input';
    perform identity_sync_private.quarantine_poison_input(batch_id, reason, body);

  elsif http_status in (413, 422) and size > 1 then
    -- A cap below 16 inputs is none that LML would have: then it refuses whatever comes.
    outcome := identity_sync_private.split_identity_batch(
      batch_id, reason, patience => case http_status when 413 then 30 else 5 end
    );

  -- A part of a cut batch is one of many: only alone is an input tried as often as a whole batch.
  elsif is_transient
    and this_batch.tries + 1 < (case when is_part and size > 1 and http_status >= 500 then 1 else max_tries end)
  then
    outcome := 'retried';
    update identity_sync.batch
    set
      state = 'open',
      leased_by = null,
      leased_until = null,
      tries = batch.tries + 1,
      not_before = coalesce(
        retry_at,
        clock_timestamp() + least(30, 0.5 * 2 ^ batch.tries) * (0.75 + random() / 2) * interval '1 second'
      )
    where batch.batch_id = finish_identity_call.batch_id;

  elsif http_status >= 500 and size > 1 then
    outcome := identity_sync_private.split_identity_batch(batch_id, reason, patience => 5);

  elsif http_status >= 500
    and identity_sync_private.has_answered_part(this_batch.root_batch_id)
  then
    outcome := 'poison_input';
    perform identity_sync_private.quarantine_poison_input(batch_id, reason, body);

  else
    outcome := 'failed';
    perform identity_sync.fail_identity_batch(batch_id, reason);
  end if;

  if outcome = 'failed' then
    perform identity_sync_private.trip_breaker(this_batch.run_id, reason);
  end if;
  perform identity_sync_private.close_identity_run(this_batch.run_id);
  return next;
end;
$$;

revoke all on function identity_sync.finish_identity_call(
  bigint, text, integer, text, text, integer, text, integer
) from public;

comment on function identity_sync.finish_identity_call(bigint, text, integer, text, text, integer, text, integer) is
  'Takes a claimed batch and its leased_by, the HTTP status, body and Retry-After header that came (NULL: none), the failure in words where the call failed, its duration in milliseconds and how often a call is tried; returns the outcome (settled, retried, deferred, split, abandoned, poison_input, failed, or lost where the lease is somebody else''s by now), the reason in words, LML''s cache_stats, and how many results broke the protocol, by key.';
