-- Takes the next batch of a run for one caller, with a lease, unless as many calls as allowed are in flight already.
-- The limit holds over all processes and runs of the database, since claims wait for one another and count leases here;
-- "answered" gives up the place in flight of the caller's last call, whose answer is still being settled. No row tells the
-- lane to end (it has nothing to do, or is enlisted again for later), a row without a batch to ask again after wait_ms.
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
  lease_end constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  -- A lane that would wait for longer makes room for others.
  patience constant interval := interval '1 second';
  this_run identity_sync.run;
  in_flight integer;
  next_at timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

  update identity_sync.batch
  set state = 'answered', leased_until = lease_end
  where batch.batch_id = claim_identity_batch.answered
    and batch.leased_by = claim_identity_batch.leased_by
    and batch.state = 'in_flight';

  -- What a dead process left behind is open again.
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
  select count(*)
  into in_flight
  from identity_sync.batch
  where batch.closed_at is null and batch.state = 'in_flight';

  claim_identity_batch.trace_id := this_run.trace_id;

  loop
    -- Whatever is unfinished becomes claimable at some time: at once, after a pause, or when a lease runs out.
    select batch.batch_id, greatest(batch.not_before, batch.leased_until, this_run.paused_until)
    into claim_identity_batch.batch_id, next_at
    from identity_sync.batch
    where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null
    order by
      coalesce(greatest(batch.not_before, batch.leased_until, this_run.paused_until) > clock_timestamp(), false),
      batch.batch_id
    limit 1;

    if not found then
      return;
    end if;

    if next_at > clock_timestamp() or in_flight >= concurrency then
      if next_at > clock_timestamp() + patience
        and not exists (
          select from identity_sync.batch
          where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null and batch.leased_by is not null
        )
      then
        perform identity_sync.enqueue_lanes(run_id, concurrency, next_at);
        return;
      end if;
      claim_identity_batch.batch_id := null;
      claim_identity_batch.wait_ms := case when in_flight >= concurrency then 100 else 500 end;
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

    claim_identity_batch.request := identity_sync.identity_batch_request(claim_identity_batch.batch_id);
    if request is null then
      perform from identity_sync.batch
      where batch.batch_id = claim_identity_batch.batch_id and batch.closed_at is null
      for update;
      if found then
        perform identity_sync_private.apply_identity_batch(claim_identity_batch.batch_id, '[]');
        perform identity_sync_private.close_identity_run(claim_identity_batch.run_id);
      end if;
      continue;
    end if;

    -- A run may be stopped at this very moment, and then the batch is nobody's any more.
    update identity_sync.batch
    set
      state = 'in_flight',
      leased_by = claim_identity_batch.leased_by,
      leased_until = lease_end,
      not_before = null
    where batch.batch_id = claim_identity_batch.batch_id and batch.closed_at is null
    returning cardinality(batch.library_ids)
    into claim_identity_batch.inputs;
    exit when found;
  end loop;

  insert into identity_sync.lml_call (batch_id, leased_by, inputs)
  values (claim_identity_batch.batch_id, claim_identity_batch.leased_by, claim_identity_batch.inputs);

  return next;
end;
$$;

revoke all on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) from public;

comment on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) is
  'Takes a run, the name of the claiming lane, the calls allowed in flight over the whole database, the length of the lease in milliseconds and the lane''s batch whose answer has come; returns a batch with its request body, its number of inputs and its run''s trace, or a pause in milliseconds, or no row where the lane may end.';
