-- Takes the next batch of a run for one caller, with a lease, unless as many calls as allowed are in flight already.
-- The limit holds over all processes and runs of the database, since claims wait for one another and count leases here;
-- "answered" gives up the place in flight of the caller's last call, whose answer is still being settled.
-- No row: the run has nothing unfinished. A row without a batch: ask again after wait_ms.
create or replace function identity_sync.claim_identity_batch(
  run_id bigint,
  holder text,
  concurrency integer,
  lease_ms integer,
  answered bigint default null
)
returns table (batch_id bigint, request text, wait_ms integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  lease_end constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  in_flight integer;
begin
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

  update identity_sync.batch
  set state = 'answered', leased_until = lease_end
  where batch.batch_id = claim_identity_batch.answered
    and batch.holder = claim_identity_batch.holder
    and batch.state = 'asked';

  -- What a dead process left behind is open again.
  update identity_sync.batch
  set state = 'open', holder = null, leased_until = null
  where batch.closed_at is null and batch.leased_until < clock_timestamp();

  select count(*)
  into in_flight
  from identity_sync.batch
  where batch.closed_at is null and batch.state = 'asked';

  loop
    select batch.batch_id
    into claim_identity_batch.batch_id
    from identity_sync.batch
    where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null and batch.state = 'open'
    order by batch.batch_id
    limit 1;

    if not found then
      -- Somebody's batches are still on their way. Should he die, their leases run out and they are claimed here.
      if exists (
        select from identity_sync.batch where batch.run_id = claim_identity_batch.run_id and batch.closed_at is null
      )
      then
        claim_identity_batch.wait_ms := 1000;
        return next;
      end if;
      return;
    end if;

    if in_flight >= concurrency then
      claim_identity_batch.batch_id := null;
      claim_identity_batch.wait_ms := 250;
      return next;
      return;
    end if;

    claim_identity_batch.request := identity_sync.identity_batch_request(claim_identity_batch.batch_id);
    exit when request is not null;

    perform identity_sync.close_identity_batch(claim_identity_batch.batch_id, '[]');
    perform identity_sync.close_identity_run(claim_identity_batch.run_id);
  end loop;

  update identity_sync.batch
  set state = 'asked', holder = claim_identity_batch.holder, leased_until = lease_end
  where batch.batch_id = claim_identity_batch.batch_id;

  insert into identity_sync.lml_call (batch_id, holder, asked)
  select batch.batch_id, batch.holder, cardinality(batch.library_ids)
  from identity_sync.batch
  where batch.batch_id = claim_identity_batch.batch_id;

  return next;
end;
$$;

revoke all on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) from public;

comment on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) is
  'Takes a run, the name of the claiming lane, the calls allowed in flight over the whole database, the length of the lease in milliseconds and the lane''s batch whose answer has come; returns a batch with its request body, or a pause in milliseconds, or no row where nothing is unfinished.';
