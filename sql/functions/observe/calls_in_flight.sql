-- Calls under way, of one worker or of all: a batch whose lease has ended is in no process's hands any more.
create or replace function identity_sync_private.calls_in_flight(worker text default null)
returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)
  from identity_sync.batch
  where batch.closed_at is null
    and batch.state = 'in_flight'
    and batch.leased_until >= clock_timestamp()
    -- A lane is named "host:pid:job", and its worker "host:pid".
    and (calls_in_flight.worker is null or regexp_replace(batch.leased_by, ':[^:]*$', '') = calls_in_flight.worker);
$$;

revoke all on function identity_sync_private.calls_in_flight(text) from public;

comment on function identity_sync_private.calls_in_flight(text) is
  'Takes a worker, or NULL for all; returns how many of its calls to LML are under way.';
