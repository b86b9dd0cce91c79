-- Closes a batch of one input as poisoned: LML refuses this input, or fails on it while it answers others. It is not
-- requested again within the retry window or until replayed or released, unless this is a dry run. One whose library is
-- gone counts as that.
create or replace function identity_sync_private.quarantine_poison_input(batch_id bigint, reason text, body text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  poisoned record;
begin
  if not exists (
    select
    from identity_sync.batch
    join wxyc_schema.library on library.id = batch.library_ids[1]
    where batch.batch_id = quarantine_poison_input.batch_id
  )
  then
    -- It has gone since it was requested, and what is never requested again needs no mark.
    perform identity_sync_private.apply_identity_batch(batch_id, '[]');
    return;
  end if;

  update identity_sync.batch
  set state = 'poisoned', leased_by = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  from identity_sync.run
  where batch.batch_id = quarantine_poison_input.batch_id and run.run_id = batch.run_id
  returning batch.library_ids[1] as library_id, batch.closed_at, run.dry_run, run.strict_bands
  into poisoned;

  if poisoned.dry_run then
    perform identity_sync_private.record_unanswered_batch(batch_id, 'poison_input');
  else
    perform identity_sync_private.apply_poison_input(
      batch_id, poisoned.library_id, reason, body, poisoned.closed_at, poisoned.strict_bands
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.quarantine_poison_input(bigint, text, text) from public;

comment on function identity_sync_private.quarantine_poison_input(bigint, text, text) is
  'Takes a batch of one library, LML''s status in words and its body; closes the batch as poisoned and settles its input. A dry run quarantines nothing.';
