--! Previous: sha1:c901de72d4c55b86144ce79535e6a68a57bd1a4e
--! Hash: sha1:913d2b5ef1decdb467efa472ebe020fd24701944
--! Message: a cap that is none

drop function identity_sync.split_identity_batch(bigint, text, boolean);

--! Included functions/split_identity_batch.sql
-- Cuts a batch in two, since LML refuses or chokes on something in it; the halves are asked after everything else.
-- Cutting on is justified by parts of the same batch that were answered: where as many as patience allows were cut and
-- none was, not an input is at fault but LML, and all parts that are left fail.
create or replace function identity_sync.split_identity_batch(batch_id bigint, reason text, patience integer)
returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  whole identity_sync.batch;
  root bigint;
  half integer;
begin
  select batch.*
  into strict whole
  from identity_sync.batch
  where batch.batch_id = split_identity_batch.batch_id;

  root := coalesce(whole.root_batch_id, whole.batch_id);
  half := cardinality(whole.library_ids) / 2;

  if not identity_sync.has_answered_part(root)
    and (
      select count(*) from identity_sync.batch as part where part.root_batch_id = root and part.state = 'split'
    ) >= patience
  then
    perform identity_sync.fail_identity_batch(part.batch_id, reason)
    from identity_sync.batch as part
    where part.root_batch_id = root
      and (part.batch_id = split_identity_batch.batch_id or part.state = 'open');
    return 'failed';
  end if;

  update identity_sync.batch
  set state = 'split', holder = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  where batch.batch_id = split_identity_batch.batch_id;

  insert into identity_sync.batch (run_id, cohort, library_ids, root_batch_id)
  values
    (whole.run_id, whole.cohort, whole.library_ids[:half], root),
    (whole.run_id, whole.cohort, whole.library_ids[half + 1:], root);

  return 'split';
end;
$$;

revoke all on function identity_sync.split_identity_batch(bigint, text, integer) from public;

comment on function identity_sync.split_identity_batch(bigint, text, integer) is
  'Takes a batch of two libraries or more, why it is cut, and how many parts of the same planned batch may be cut before one of them is answered; returns split, or failed where the parts were given up.';
--! EndIncluded functions/split_identity_batch.sql
--! Included functions/close_identity_batch.sql
-- Settles a batch with the answer that came for it: applied in a real run, rehearsed in a dry one, whose answer is kept
-- so that exactly it can be applied later. The settlement is then known to belong to this batch and its run. A row that
-- had lost its artist name when the request was made was not asked, and counts nowhere.
create or replace function identity_sync.close_identity_batch(batch_id bigint, answer jsonb, body text default null)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  came_at constant timestamptz := clock_timestamp();
  service constant text := 'consumer:lml-bulk';
  results constant jsonb := identity_sync.identity_results(answer);
  asked record;
  report jsonb;
begin
  select batch.library_ids, batch.run_id, run.dry_run, run.strict_bands
  into strict asked
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = close_identity_batch.batch_id;

  if jsonb_array_length(results) < cardinality(asked.library_ids) then
    asked.library_ids := array(
      select named.id
      from unnest(asked.library_ids) as named (id)
      left join wxyc_schema.library on library.id = named.id
      where library.id is null
        or not identity_sync.is_blank(library.artist_name)
        or results @> jsonb_build_array(jsonb_build_object('library_id', named.id))
    );
  end if;

  if asked.dry_run then
    report := identity_sync.rehearse_identity_verdicts(
      answer, asked.library_ids, service, came_at, asked.strict_bands
    );
    insert into identity_sync.settlement (rehearsal, origin, verified_at, asked, unasked, report)
    values (
      true, service, came_at, cardinality(asked.library_ids),
      (report ->> 'scanned')::integer - cardinality(asked.library_ids), report
    );
  else
    perform identity_sync.apply_identity_verdicts(
      answer, asked.library_ids, service, came_at, asked.strict_bands
    );
  end if;

  update identity_sync.settlement
  set run_id = asked.run_id, batch_id = close_identity_batch.batch_id
  where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');

  update identity_sync.batch
  set
    state = 'settled',
    library_ids = asked.library_ids,
    holder = null,
    leased_until = null,
    answer = case when asked.dry_run then body end,
    answered_at = came_at,
    closed_at = clock_timestamp()
  where batch.batch_id = close_identity_batch.batch_id;
end;
$$;

revoke all on function identity_sync.close_identity_batch(bigint, jsonb, text) from public;

comment on function identity_sync.close_identity_batch(bigint, jsonb, text) is
  'Takes a batch, LML''s answer for it and the answer''s text (kept for a dry run); applies or rehearses it and closes the batch.';
--! EndIncluded functions/close_identity_batch.sql
--! Included functions/settle_identity_batch.sql
-- Takes what came of a call and decides what becomes of its batch, by the wire contract's table of faults: an answer is
-- judged and written, a passing fault is tried again after a pause, a batch that LML refuses or chokes on is cut in two
-- until the input at fault is alone, and anything else fails the batch, whose rows stay due. A key that LML refuses stops
-- every run. A caller whose lease was lost meanwhile writes nothing.
create or replace function identity_sync.settle_identity_batch(
  batch_id bigint,
  holder text,
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
  retry_at constant timestamptz := identity_sync.retry_time(retry_after);
  is_transient constant boolean := http_status is null or http_status in (200, 408, 425, 429) or http_status >= 500;
begin
  select batch.*
  into this_batch
  from identity_sync.batch
  where batch.batch_id = settle_identity_batch.batch_id
    and batch.holder = settle_identity_batch.holder
    and batch.state in ('asked', 'answered')
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
    latency_ms = settle_identity_batch.latency_ms,
    http_status = settle_identity_batch.http_status,
    failure = settle_identity_batch.failure
  where lml_call.batch_id = settle_identity_batch.batch_id
    and lml_call.holder = settle_identity_batch.holder
    and lml_call.answered_at is null;

  if failure is null and http_status = 200 then
    answer := identity_sync.read_identity_answer(body);
  end if;

  reason := case
    when answer is not null then null
    when failure is not null then failure
    when http_status = 200 then 'LML answered 200 with what is no answer'
    else format('LML answered %s: %s', http_status, identity_sync.lml_words(body))
  end;

  if answer is not null then
    outcome := 'settled';
    cache_stats := case when jsonb_typeof(answer -> 'cache_stats') = 'object' then answer -> 'cache_stats' end;
    perform identity_sync.close_identity_batch(batch_id, answer, body);
    drift := identity_sync.protocol_drift(batch_id);
    perform identity_sync.shed_identity_run(this_batch.run_id, batch_id);
    update identity_sync.run set pauses = 0 where run.run_id = this_batch.run_id and run.pauses > 0;
    -- Where a person has asked again and was answered, the key is good.
    delete from identity_sync.planning_hold
    using identity_sync.lml_call
    where planning_hold.name = 'key_refused'
      and lml_call.batch_id = settle_identity_batch.batch_id
      and lml_call.started_at > planning_hold.since;

  elsif http_status in (401, 403) then
    outcome := 'failed';
    insert into identity_sync.planning_hold as hold (name, reason, run_id)
    values ('key_refused', settle_identity_batch.reason, this_batch.run_id)
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
    perform identity_sync.reopen_identity_batch(batch_id);

  elsif http_status = 429 then
    outcome := 'deferred';
    perform identity_sync.defer_identity_batch(batch_id, retry_at);

  elsif size = 1
    and (http_status = 422 or (http_status = 413 and identity_sync.has_answered_part(this_batch.root_batch_id)))
  then
    outcome := 'poison_input';
    perform identity_sync.poison_identity_batch(batch_id, reason, body);

  elsif http_status in (413, 422) and size > 1 then
    -- A cap below 16 inputs is none that LML would have: then it refuses whatever comes.
    outcome := identity_sync.split_identity_batch(
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
      holder = null,
      leased_until = null,
      tries = batch.tries + 1,
      not_before = coalesce(
        retry_at,
        clock_timestamp() + least(30, 0.5 * 2 ^ batch.tries) * (0.75 + random() / 2) * interval '1 second'
      )
    where batch.batch_id = settle_identity_batch.batch_id;

  elsif http_status >= 500 and size > 1 then
    outcome := identity_sync.split_identity_batch(batch_id, reason, patience => 5);

  elsif http_status >= 500
    and identity_sync.has_answered_part(this_batch.root_batch_id)
  then
    outcome := 'poison_input';
    perform identity_sync.poison_identity_batch(batch_id, reason, body);

  else
    outcome := 'failed';
    perform identity_sync.fail_identity_batch(batch_id, reason);
  end if;

  if outcome = 'failed' then
    perform identity_sync.pause_failing_run(this_batch.run_id, reason);
  end if;
  perform identity_sync.close_identity_run(this_batch.run_id);
  return next;
end;
$$;

revoke all on function identity_sync.settle_identity_batch(
  bigint, text, integer, text, text, integer, text, integer
) from public;

comment on function identity_sync.settle_identity_batch(bigint, text, integer, text, text, integer, text, integer) is
  'Takes a claimed batch and its holder, the HTTP status, body and Retry-After header that came (NULL: none), the failure in words where the call failed, its duration in milliseconds and how often a call is tried; returns the outcome (settled, retried, deferred, split, abandoned, poison_input, failed, or lost where the lease is somebody else''s by now), the reason in words, LML''s cache_stats, and how many results broke the protocol, by key.';
--! EndIncluded functions/settle_identity_batch.sql
