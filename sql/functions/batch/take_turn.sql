-- Decides whether a worker may begin another call now, so that workers share the calls evenly, also one that joins
-- late. A worker that is ahead leaves a free place in flight to one that waits and is behind. The caller holds the lock
-- of claim_identity_batch.
create or replace function identity_sync_private.take_turn(worker text, concurrency integer, in_flight integer)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A place that changes hands lies idle until a lane of the other worker asks for it, 100 ms at most. A lead of two
  -- calls makes that rare. It also bounds what a worker may catch up on: calls that others made while it was away are
  -- not owed.
  lead constant integer := 2;
  -- A lane that waits asks ten times a second: a worker that has been silent for this long waits no more.
  silence constant interval := interval '1 second';
  turns_now bigint;
  may_begin boolean;
begin
  insert into identity_sync.worker as known (name, turns, concurrency)
  select take_turn.worker, coalesce(max(fleet.turns) - lead, 0), take_turn.concurrency
  from identity_sync.worker as fleet
  on conflict (name) do update
  set turns = greatest(known.turns, excluded.turns), concurrency = excluded.concurrency, asked_at = clock_timestamp()
  returning turns
  into turns_now;

  may_begin := in_flight < take_turn.concurrency and not exists (
    select
    from identity_sync.worker as other
    where other.name <> take_turn.worker
      and other.is_waiting
      and other.asked_at > clock_timestamp() - silence
      -- One that allows fewer calls in flight could not take the place.
      and other.concurrency > in_flight
      and other.turns <= turns_now - lead
  );

  update identity_sync.worker as known
  set turns = known.turns + may_begin::integer, is_waiting = not may_begin
  where known.name = take_turn.worker;

  return may_begin;
end;
$$;

revoke all on function identity_sync_private.take_turn(text, integer, integer) from public;

comment on function identity_sync_private.take_turn(text, integer, integer) is
  'Takes a worker, the calls that it allows in flight over the whole database, and those in flight; returns whether it may begin one, and counts it.';
