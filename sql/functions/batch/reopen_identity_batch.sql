-- Makes a batch claimable again after its lane returned it or died with it. In a run that was told to stop it is
-- abandoned instead, which may end the run; but an answer that is kept is still to be applied.
create or replace function identity_sync_private.reopen_identity_batch(batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  reopened record;
begin
  update identity_sync.batch
  set
    state = case
      when batch.answer is not null then 'answered'
      when run.stop_reason is null then 'open'
      else 'abandoned'
    end,
    leased_by = null,
    leased_until = null,
    closed_at = case when run.stop_reason is not null and batch.answer is null then clock_timestamp() end
  from identity_sync.run
  where batch.batch_id = reopen_identity_batch.batch_id
    and batch.closed_at is null
    and run.run_id = batch.run_id
  returning run.run_id, run.stop_reason
  into reopened;

  if reopened.stop_reason is not null then
    perform identity_sync_private.close_identity_run(reopened.run_id);
  end if;
end;
$$;

revoke all on function identity_sync_private.reopen_identity_batch(bigint) from public;

comment on function identity_sync_private.reopen_identity_batch(bigint) is
  'Takes an unfinished batch; opens it again, or abandons it where its run was told to stop. A kept answer waits for another lane.';
