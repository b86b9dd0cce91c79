-- Records the result of a call and applies the fault policy (decide_call_outcome, sql/wire.md) to its batch. A caller
-- whose lease was lost meanwhile writes nothing. An answer is never asked for again because another session holds some
-- of its rows: it is kept.
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
set lock_timeout = '5s'
as $$
declare
  came_at constant timestamptz := clock_timestamp();
  this_batch identity_sync.batch;
  this_run identity_sync.run;
  answer_text text;
  answer jsonb;
  decision text;
  retry_at timestamptz := identity_sync_private.parse_retry_after(retry_after);
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

  select run.*
  into this_run
  from identity_sync.run
  where run.run_id = this_batch.run_id;

  update identity_sync.lml_call
  set
    answered_at = clock_timestamp(),
    latency_ms = finish_identity_call.latency_ms,
    http_status = finish_identity_call.http_status,
    failure = finish_identity_call.failure
  -- A claim whose answer the lane never got, as its session was cut, has sent nothing.
  where lml_call.answered_at is null
    and lml_call.call_id = (
      select max(sent.call_id)
      from identity_sync.lml_call as sent
      where sent.batch_id = finish_identity_call.batch_id and sent.leased_by = finish_identity_call.leased_by
    );

  if failure is null and http_status = 200 then
    answer_text := coalesce(this_batch.answer, body);
    answer := identity_sync.read_identity_answer(answer_text, cardinality(this_batch.library_ids));
  end if;

  reason := case
    when answer is not null then null
    when failure is not null then failure
    when http_status = 200
    then 'LML answered 200 with what is no answer: '
      || coalesce(identity_sync_private.excerpt(answer_text, 200), 'no text at all')
    else format('LML answered %s: %s', http_status, identity_sync_private.lml_error_message(body))
      || coalesce(
        '; it asks for quiet until ' || to_char(retry_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', ''
      )
      || case when retry_at > this_run.deadline_at then ', later than the deadline of the run' else '' end
  end;
  retry_at := case when retry_at is not null then least(retry_at, this_run.deadline_at) end;

  decision := identity_sync_private.decide_call_outcome(
    http_status => http_status,
    has_answer => answer is not null,
    size => cardinality(this_batch.library_ids),
    tries => this_batch.tries,
    max_tries => max_tries,
    is_part => this_batch.root_batch_id is not null,
    has_answered_part => identity_sync_private.has_answered_part(this_batch.root_batch_id),
    is_stopping => this_run.stop_reason is not null
  );

  case decision
    when 'applied' then
      cache_stats := case
        when jsonb_typeof(answer -> 'cache_stats') = 'object'
        then identity_sync_private.printable(answer -> 'cache_stats')
      end;
      begin
        if this_batch.answer is not null then
          -- Its rows were held before: a lane does not wait for them a second time.
          perform set_config('lock_timeout', '100ms', true);
          perform identity_sync_private.lock_identities(this_batch.library_ids);
          perform set_config('lock_timeout', '5s', true);
        end if;
        perform identity_sync_private.apply_identity_batch(batch_id, answer, answer_text);
        drift := identity_sync_private.contract_breaches(batch_id);
        perform identity_sync_private.brake_identity_run(this_batch.run_id, batch_id);
        update identity_sync.run set pauses = 0 where run.run_id = this_batch.run_id and run.pauses > 0;
        -- An answer to a call that began after the key was refused proves that the key is good again.
        delete from identity_sync.planning_hold
        using identity_sync.lml_call
        where planning_hold.name = 'key_refused'
          and lml_call.batch_id = finish_identity_call.batch_id
          and lml_call.started_at > planning_hold.since;
        perform identity_sync_private.close_identity_run(this_batch.run_id);
      exception
        when lock_not_available then
          decision := 'kept';
          reason := sqlerrm;
          drift := null;
          perform identity_sync_private.keep_identity_answer(batch_id, answer_text, came_at);
      end;
    when 'key_refused' then
      perform identity_sync_private.stop_for_refused_key(batch_id, http_status, reason);
      decision := 'failed';
    when 'abandoned' then
      perform identity_sync_private.reopen_identity_batch(batch_id);
    when 'deferred' then
      perform identity_sync_private.defer_identity_batch(batch_id, retry_at);
    when 'retried' then
      perform identity_sync_private.retry_identity_batch(batch_id, retry_at);
    when 'split' then
      -- 30 cuts take 500 rows down to parts of about 16. If LML still answers 413, it is rejecting everything.
      decision := identity_sync_private.split_identity_batch(
        batch_id, reason, patience => case http_status when 413 then 30 else 5 end
      );
    when 'poison_input' then
      perform identity_sync_private.quarantine_poison_input(batch_id, reason, body);
    when 'failed' then
      perform identity_sync.fail_identity_batch(batch_id, reason);
  end case;

  outcome := decision;
  -- An applied batch has closed its run already, and a kept answer leaves it open.
  if outcome not in ('applied', 'kept') then
    perform identity_sync_private.close_identity_run(this_batch.run_id);
  end if;
  return next;
end;
$$;

revoke all on function identity_sync.finish_identity_call(
  bigint, text, integer, text, text, integer, text, integer
) from public;

comment on function identity_sync.finish_identity_call(bigint, text, integer, text, text, integer, text, integer) is
  'Takes a claimed batch and the name that leased it, the HTTP status (200 for an answer that the batch has kept), body and Retry-After header received (NULL: none), the failure in words where the call failed, its duration in milliseconds, and how often a call is tried; returns the outcome (applied, kept where other sessions hold its rows, retried, deferred, split, abandoned, poison_input, failed, or lost where another lane holds the lease by now), the reason in words, LML''s cache_stats, and how many results broke the protocol, by key.';
