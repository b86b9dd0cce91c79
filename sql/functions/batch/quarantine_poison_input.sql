-- Closes a batch of one input as poisoned: LML refuses this input, or fails on it while it answers others. The input
-- goes to quarantine with LML's status and words, and is not requested again within the retry window or until replayed
-- or released. One whose library is gone counts as that.
create or replace function identity_sync_private.quarantine_poison_input(batch_id bigint, reason text, body text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  poisoned record;
  recorded bigint;
  came_at timestamptz;
begin
  if not exists (
    select
    from identity_sync.batch
    join wxyc_schema.library on library.id = batch.library_ids[1]
    where batch.batch_id = quarantine_poison_input.batch_id
  )
  then
    -- It has gone since it was requested: what nobody will request again needs no mark.
    perform identity_sync_private.apply_identity_batch(batch_id, '[]');
    return;
  end if;

  update identity_sync.batch
  set state = 'poisoned', leased_by = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  from identity_sync.run
  where batch.batch_id = quarantine_poison_input.batch_id and run.run_id = batch.run_id
  returning batch.library_ids[1] as library_id, batch.asked_as, run.dry_run, run.strict_bands
  into poisoned;

  recorded := identity_sync_private.record_unanswered_batch(batch_id, 'poison_input');
  if poisoned.dry_run then
    return;
  end if;

  select settlement.verified_at
  into strict came_at
  from identity_sync.settlement
  where settlement.settlement_id = recorded;

  perform identity_sync_private.lock_identities(array[poisoned.library_id]);
  perform identity_sync_private.replace_attempt(poisoned.library_id, 'poison_input', came_at, recorded);
  perform identity_sync_private.remember_questions('{}', array[poisoned.library_id], poisoned.asked_as);

  update identity_sync.quarantined_verdict as entry
  set closed_at = came_at, closed_reason = format('a later refusal, settlement %s', recorded)
  where entry.library_id = poisoned.library_id and entry.closed_at is null;

  insert into identity_sync.quarantined_verdict (
    settlement_id, library_id, outcome, reason, verdict_text, origin, verified_at, strict_bands
  )
  values (
    recorded, poisoned.library_id, 'poison_input', quarantine_poison_input.reason, left(body, 10000),
    identity_sync_private.service_origin(), came_at, poisoned.strict_bands
  );
end;
$$;

revoke all on function identity_sync_private.quarantine_poison_input(bigint, text, text) from public;

comment on function identity_sync_private.quarantine_poison_input(bigint, text, text) is
  'Takes a batch of one library, LML''s status in words and its body, of which 10,000 characters are kept; closes the batch as poisoned. A dry run quarantines nothing.';
