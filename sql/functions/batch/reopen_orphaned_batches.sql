-- Opens again what dead processes left behind, and abandons what is open in a run that is stopping. The caller holds a
-- lock that every claim needs, so nothing here waits: a batch that is locked is being settled, and its lane is alive.
-- Each kind has a statement and an index of its own, so that no claim reads all batches that are open.
create or replace function identity_sync_private.reopen_orphaned_batches()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
-- A plan made while the tables were nearly empty reads them whole.
set enable_seqscan = off
set jit = off
as $$
  select identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from (
    select batch.batch_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.closed_at is null
      and batch.state in ('in_flight', 'answered')
      and batch.leased_until < clock_timestamp()
    order by batch.batch_id
    for no key update skip locked
  ) as orphan;

  select identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from (
    select batch.batch_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where run.finished_at is null
      and run.stop_reason is not null
      and batch.closed_at is null
      and batch.state = 'open'
    order by batch.batch_id
    for no key update skip locked
  ) as orphan;
$$;

revoke all on function identity_sync_private.reopen_orphaned_batches() from public;

comment on function identity_sync_private.reopen_orphaned_batches() is
  'Opens every batch again whose lease has run out, unless another session holds it or its run.';
