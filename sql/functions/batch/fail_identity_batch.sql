-- Gives a batch up: nothing is written for its rows and they get no attempt, so they are due in the next run. The
-- report counts them all the same, as lml_error where LML failed, or as writer_error where the database could not
-- write.
create or replace function identity_sync.fail_identity_batch(
  batch_id bigint,
  failure text,
  counted_as text default 'lml_error',
  leased_by text default null
)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  failed_run bigint;
begin
  update identity_sync.batch
  set
    state = 'failed',
    leased_by = null,
    leased_until = null,
    answer = null,
    answered_at = null,
    failure = fail_identity_batch.failure,
    closed_at = clock_timestamp()
  where batch.batch_id = fail_identity_batch.batch_id
    and batch.closed_at is null
    and (fail_identity_batch.leased_by is null or batch.leased_by = fail_identity_batch.leased_by)
  returning batch.run_id
  into failed_run;

  if not found then
    return;
  end if;

  perform identity_sync_private.record_unanswered_batch(batch_id, counted_as);
  perform identity_sync_private.trip_breaker(failed_run, failure);
  perform identity_sync_private.close_identity_run(failed_run);
end;
$$;

revoke all on function identity_sync.fail_identity_batch(bigint, text, text, text) from public;

comment on function identity_sync.fail_identity_batch(bigint, text, text, text) is
  'Takes a batch, why it failed, the key of rows_skipped that its rows count as (lml_error or writer_error), and who must have leased it (NULL: anybody); closes it as failed. A batch that is closed already, or leased by another lane, stays as it is.';
