-- Whether the process of a lane that waits for a place in flight should carry another run instead. Lanes of a long run
-- may fill every process, and a run that is opened beside it would make no call until the long one ends.
create or replace function identity_sync_private.another_run_waits(run_id bigint)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from identity_sync.run as other
    where other.run_id <> another_run_waits.run_id
      and other.finished_at is null
      and other.stop_reason is null
      and coalesce(other.paused_until <= clock_timestamp(), true)
      and exists (
        select from identity_sync.batch
        where batch.run_id = other.run_id
          and batch.closed_at is null
          and coalesce(batch.not_before <= clock_timestamp(), true)
      )
      and not exists (
        select from identity_sync.batch
        where batch.run_id = other.run_id
          and batch.closed_at is null
          and batch.state in ('in_flight', 'answered')
          and batch.leased_by is not null
      )
  );
$$;

revoke all on function identity_sync_private.another_run_waits(bigint) from public;

comment on function identity_sync_private.another_run_waits(bigint) is
  'Takes a run; returns whether another run has a batch that is due, and no lane that carries one.';
