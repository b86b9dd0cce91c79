-- Gives a batch up: nothing is written for its rows and no mark is made, so that they are due in the next run.
-- They are counted all the same, as lml_error where LML failed, or as writer_error where the database could not.
create or replace function identity_sync.fail_identity_batch(
  batch_id bigint,
  failure text,
  counted_as text default 'lml_error',
  leased_by text default null
)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  failed record;
begin
  update identity_sync.batch
  set
    state = 'failed',
    leased_by = null,
    leased_until = null,
    failure = fail_identity_batch.failure,
    closed_at = clock_timestamp()
  where batch.batch_id = fail_identity_batch.batch_id
    and batch.closed_at is null
    and (fail_identity_batch.leased_by is null or batch.leased_by = fail_identity_batch.leased_by)
  returning batch.run_id, cardinality(batch.library_ids) as asked
  into failed;

  if not found then
    return;
  end if;

  insert into identity_sync.settlement (
    run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report
  )
  select
    failed.run_id, fail_identity_batch.batch_id, run.dry_run, false, identity_sync_private.service_origin(),
    clock_timestamp(), failed.asked, 0,
    jsonb_set(
      jsonb_set(identity_sync_private.empty_report(), '{scanned}', to_jsonb(failed.asked)),
      array['rows_skipped', fail_identity_batch.counted_as],
      to_jsonb(failed.asked)
    )
  from identity_sync.run
  where run.run_id = failed.run_id;

  perform identity_sync_private.close_identity_run(failed.run_id);
end;
$$;

revoke all on function identity_sync.fail_identity_batch(bigint, text, text, text) from public;

comment on function identity_sync.fail_identity_batch(bigint, text, text, text) is
  'Takes a batch, why it failed, and the key of rows_skipped that its rows count as (lml_error or writer_error), and who must hold it (NULL: anybody); closes it as failed. Closed already, or held by somebody else: nothing happens.';
