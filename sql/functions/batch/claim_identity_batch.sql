-- Gives a lane the next batch of its run, with a lease. Claims wait for one another, so the limit on calls in flight
-- holds over all processes and runs, and workers share the calls evenly. While the lane's last answer is being written,
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
as $$
declare
  -- A lane is named "host:pid:job", and its worker "host:pid".
  worker constant text := regexp_replace(leased_by, ':[^:]*$', '');
  lease_end constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  -- A lane that would wait for longer makes room for those of other runs.
  patience constant interval := interval '1 second';
  this_run identity_sync.run;
  in_flight integer;
  due_at timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

  update identity_sync.batch
  set state = 'answered', leased_until = lease_end
  where batch.batch_id = claim_identity_batch.answered
    and batch.leased_by = claim_identity_batch.leased_by
    and batch.state = 'in_flight';

  -- Open again what a dead process left behind.
  perform identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from identity_sync.batch as orphan
  where orphan.closed_at is null and orphan.leased_until < clock_timestamp();

  select run.*
  into this_run
  from identity_sync.run
  where run.run_id = claim_identity_batch.run_id;

  if this_run.deadline_at < clock_timestamp() then
    perform identity_sync.stop_identity_run(
      run_id, 'its deadline has passed, what is left is due next time', cause => 'deadline'
    );
    return;
  end if;
  if this_run.stop_cause is not null then
    -- A call that failed just when the run was stopped may have opened its batch again.
    perform identity_sync.stop_identity_run(run_id, this_run.stop_reason, cause => this_run.stop_cause);
    return;
  end if;

  select count(*)
  into in_flight
  from identity_sync.batch
  where batch.closed_at is null and batch.state = 'in_flight';

  trace_id := this_run.trace_id;

  loop
    -- Each unfinished batch is due at some time: now, after a pause, or when its lease runs out.
    select batch.batch_id, greatest(batch.not_before, batch.leased_until, this_run.paused_until)
    into claim_identity_batch.batch_id, due_at
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id and run.stop_cause is null
    where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null
    order by
      coalesce(greatest(batch.not_before, batch.leased_until, this_run.paused_until) > clock_timestamp(), false),
      batch.batch_id
    limit 1;

    if not found then
      return;
    end if;

    if due_at > clock_timestamp() then
      if due_at > clock_timestamp() + patience
        and not exists (
          select from identity_sync.batch
          where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null and batch.leased_by is not null
        )
      then
        perform identity_sync.enqueue_lanes(run_id, concurrency, due_at);
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

    if this_run.call_budget <= (
      select count(*)
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = claim_identity_batch.run_id
    )
    then
      perform identity_sync.stop_identity_run(
        run_id, 'its budget of calls is used up, what is left is due next time', cause => 'budget'
      );
      return;
    end if;

    request := identity_sync.identity_batch_request(claim_identity_batch.batch_id);
    if request is null then
      -- All of its records are gone: the batch is applied without a call.
      perform from identity_sync.batch
      where batch.batch_id = claim_identity_batch.batch_id and batch.closed_at is null
      for update;
      if found then
        perform identity_sync_private.apply_identity_batch(claim_identity_batch.batch_id, '[]');
        perform identity_sync_private.close_identity_run(claim_identity_batch.run_id);
      end if;
      continue;
    end if;

    -- The run may have been stopped since, and the batch abandoned with it.
    update identity_sync.batch
    set
      state = 'in_flight',
      leased_by = claim_identity_batch.leased_by,
      leased_until = lease_end,
      not_before = null
    where batch.batch_id = claim_identity_batch.batch_id and batch.closed_at is null
    returning cardinality(batch.library_ids)
    into inputs;
    exit when found;
  end loop;

  insert into identity_sync.lml_call (batch_id, leased_by, inputs)
  values (claim_identity_batch.batch_id, claim_identity_batch.leased_by, claim_identity_batch.inputs);

  return next;
end;
$$;

revoke all on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) from public;

comment on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) is
  'Takes a run, the lane''s name ("host:pid:job"), the calls allowed in flight over the whole database, the lease in milliseconds and the lane''s batch whose answer has come; returns a batch with its request body, its number of inputs and its run''s trace, or no batch but a pause in milliseconds, or no row where the lane may end.';
