-- Names the one input of a batch as what LML refuses or chokes on: it is quarantined with LML's status and words, and not
-- asked again within the retry window, or until it is replayed or released.
create or replace function identity_sync_private.quarantine_poison_input(batch_id bigint, reason text, body text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  came_at constant timestamptz := clock_timestamp();
  service constant text := identity_sync_private.service_origin();
  poisoned record;
begin
  update identity_sync.batch
  set state = 'applied', leased_by = null, leased_until = null, failure = reason, closed_at = came_at
  from identity_sync.run
  where batch.batch_id = quarantine_poison_input.batch_id and run.run_id = batch.run_id
  returning batch.run_id, batch.library_ids[1] as library_id, run.dry_run, run.strict_bands
  into poisoned;

  insert into identity_sync.settlement (
    settlement_id, run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report
  )
  overriding system value
  values (
    this_settlement, poisoned.run_id, quarantine_poison_input.batch_id, poisoned.dry_run, false, service, came_at, 1, 0,
    jsonb_set(
      jsonb_set(identity_sync_private.empty_report(), '{scanned}', '1'), '{rows_skipped,poison_input}', '1'
    )
  );

  if poisoned.dry_run then
    return;
  end if;

  perform identity_sync_private.replace_attempt(poisoned.library_id, 'poison_input', came_at, this_settlement);

  update identity_sync.quarantined_verdict as entry
  set closed_at = came_at, closed_reason = format('a later refusal, settlement %s', this_settlement)
  where entry.library_id = poisoned.library_id and entry.closed_at is null;

  insert into identity_sync.quarantined_verdict (
    settlement_id, library_id, outcome, reason, verdict_text, origin, verified_at, strict_bands
  )
  values (
    this_settlement, poisoned.library_id, 'poison_input', quarantine_poison_input.reason, left(body, 10000),
    service, came_at, poisoned.strict_bands
  );
end;
$$;

revoke all on function identity_sync_private.quarantine_poison_input(bigint, text, text) from public;

comment on function identity_sync_private.quarantine_poison_input(bigint, text, text) is
  'Takes a batch of one library, LML''s status in words and the body that came; settles it as poison_input.';
