-- Takes what came of a call and decides what becomes of its batch: an answer is judged and written (or rehearsed, in a
-- dry run), anything else fails the batch, whose rows stay due. A key that LML refuses (401, 403) stops the whole run.
-- A caller whose lease was lost meanwhile writes nothing.
create or replace function identity_sync.settle_identity_batch(
  batch_id bigint,
  holder text,
  http_status integer,
  body text,
  failure text,
  latency_ms integer
)
returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_run bigint;
  answer jsonb;
  outcome text := 'settled';
begin
  select batch.run_id
  into asked_run
  from identity_sync.batch
  where batch.batch_id = settle_identity_batch.batch_id
    and batch.holder = settle_identity_batch.holder
    and batch.state in ('asked', 'answered')
  for update;

  if not found then
    return 'lost';
  end if;

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

  if answer is not null then
    perform identity_sync.close_identity_batch(batch_id, answer, body);
  else
    outcome := 'failed';
    perform identity_sync.fail_identity_batch(
      batch_id,
      coalesce(failure, case when http_status = 200 then 'LML''s answer is no answer' else format('LML answered %s', http_status) end)
    );
  end if;

  if http_status in (401, 403) then
    perform identity_sync.stop_identity_run(
      asked_run,
      format('LML answered %s: the key is refused. Check LML_API_KEY; nothing more was asked.', http_status)
    );
  end if;

  perform identity_sync.close_identity_run(asked_run);
  return outcome;
end;
$$;

revoke all on function identity_sync.settle_identity_batch(bigint, text, integer, text, text, integer) from public;

comment on function identity_sync.settle_identity_batch(bigint, text, integer, text, text, integer) is
  'Takes a claimed batch and its holder, the HTTP status and body that came (NULL: none), the failure in words where the call failed, and its duration in milliseconds; returns settled, failed, or lost where the lease is somebody else''s by now.';
