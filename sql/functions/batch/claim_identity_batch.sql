-- Gives a lane the next batch of its run, with a lease. Claims wait for one another, so the limit on calls in flight
-- holds over all processes and runs, and workers share the calls evenly; and so a claim waits for nothing else: what
-- another session holds is passed over, and no table is read whole. While the lane's last answer is being written,
-- "answered" gives up its place in flight.
create or replace function identity_sync.claim_identity_batch(
  run_id bigint,
  leased_by text,
  concurrency integer,
  lease_ms integer,
  answered bigint default null
)
returns table (batch_id bigint, request text, wait_ms integer, inputs integer, trace_id text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1min'
set enable_seqscan = off
set jit = off
as $$
declare
  -- A lane is named "host:pid:job", and its worker "host:pid".
  worker constant text := regexp_replace(leased_by, ':[^:]*$', '');
  lease_end constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  -- A lane that would wait for longer makes room for those of other runs.
  patience constant interval := interval '1 second';
  this_run identity_sync.run;
  in_flight integer;
  unfinished record;
  is_run_held boolean := false;
begin
  lock table identity_sync.claim_mutex in exclusive mode;

  -- From here on every wait would be everybody's.
  perform set_config('lock_timeout', '100ms', true);

  update identity_sync.batch
  set state = 'answered', leased_until = lease_end
  where batch.batch_id = claim_identity_batch.answered
    and batch.leased_by = claim_identity_batch.leased_by
    and batch.state = 'in_flight';

  perform identity_sync_private.reopen_orphaned_batches();

  select run.*
  into this_run
  from identity_sync.run
  where run.run_id = claim_identity_batch.run_id;

  if this_run.stop_reason is null and this_run.deadline_at < clock_timestamp() then
    is_run_held := not identity_sync_private.stop_unheld_run(run_id, null, 'deadline');
    this_run.stop_reason := 'deadline';
  end if;

  trace_id := this_run.trace_id;

  select kept.batch_id, kept.inputs
  into claim_identity_batch.batch_id, inputs
  from identity_sync_private.take_kept_answer(run_id, leased_by, lease_end) as kept;
  if batch_id is not null then
    return next;
    return;
  end if;

  if this_run.stop_cause is not null then
    -- A call that failed just when the run was stopped may have opened its batch again.
    perform identity_sync_private.stop_unheld_run(run_id, this_run.stop_reason, this_run.stop_cause);
  end if;

  in_flight := (select count(*) from identity_sync.batch where batch.closed_at is null and batch.state = 'in_flight');

  loop
    select batch.batch_id
    into claim_identity_batch.batch_id
    from identity_sync.batch
    where batch.run_id = claim_identity_batch.run_id
      and batch.closed_at is null
      and batch.state = 'open'
      and this_run.stop_reason is null
      and coalesce(greatest(batch.not_before, this_run.paused_until) <= clock_timestamp(), true)
    order by batch.batch_id
    limit 1
    for no key update skip locked;

    if not found then
      -- Each unfinished batch is due at some time: after a pause, or when its lease runs out or is given up.
      select
        count(*) as batches,
        count(batch.leased_by) as leased,
        min(
          greatest(
            clock_timestamp(), batch.not_before, batch.leased_until,
            case when batch.state = 'open' then this_run.paused_until end
          )
        ) as due_at
      into unfinished
      from identity_sync.batch
      where batch.run_id = claim_identity_batch.run_id
        and batch.closed_at is null
        and (batch.state <> 'open' or this_run.stop_reason is null);

      if unfinished.batches = 0 and not is_run_held then
        return;
      end if;
      if unfinished.leased = 0 and unfinished.due_at > clock_timestamp() + patience then
        perform identity_sync.enqueue_lanes(run_id, concurrency, unfinished.due_at);
        return;
      end if;
      wait_ms := 500;
    elsif not identity_sync_private.take_turn(worker, concurrency, in_flight) then
      if identity_sync_private.another_run_waits(run_id) then
        return;
      end if;
      wait_ms := 100;
    end if;
    if wait_ms is not null then
      claim_identity_batch.batch_id := null;
      return next;
      return;
    end if;

    if this_run.call_budget is not null and this_run.call_budget <= (
      select count(*)
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = claim_identity_batch.run_id
    )
    then
      is_run_held := not identity_sync_private.stop_unheld_run(run_id, null, 'budget');
      this_run.stop_reason := 'budget';
      continue;
    end if;

    request := identity_sync_private.compose_batch_request(claim_identity_batch.batch_id);
    exit when request is not null;

    perform identity_sync_private.close_empty_batch(claim_identity_batch.batch_id);
  end loop;

  update identity_sync.batch
  set state = 'in_flight', leased_by = claim_identity_batch.leased_by, leased_until = lease_end, not_before = null
  where batch.batch_id = claim_identity_batch.batch_id
  returning cardinality(batch.library_ids)
  into inputs;

  insert into identity_sync.lml_call (batch_id, leased_by, inputs)
  values (claim_identity_batch.batch_id, claim_identity_batch.leased_by, claim_identity_batch.inputs);

  return next;
end;
$$;

revoke all on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) from public;

comment on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) is
  'Takes a run, the lane''s name ("host:pid:job"), the calls allowed in flight over the whole database, the lease in milliseconds and the lane''s batch whose answer has come; returns a batch with its request body (NULL: its answer is kept, and is to be handed to finish_identity_call), its number of inputs and its run''s trace, or no batch but a pause in milliseconds, or no row where the lane may end.';
