-- Closes a quarantine entry that nothing else can close, because it names no library, was not asked or was a typing
-- mistake. The mark that it left goes with it, so that the library is due as before.
create or replace function identity_sync.dismiss_quarantined_verdict(quarantine_id bigint, reason text)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  dismissed record;
begin
  perform identity_sync_private.check_reason(reason);

  -- A writer touches mark and entry in the other order.
  perform identity_sync_private.lock_identities(
    array(
      select entry.library_id
      from identity_sync.quarantined_verdict as entry
      where entry.quarantine_id = dismiss_quarantined_verdict.quarantine_id and entry.closed_at is null
    )
  );

  update identity_sync.quarantined_verdict as entry
  set
    closed_at = clock_timestamp(),
    closed_reason = format('dismissed by %s: %s', session_user, dismiss_quarantined_verdict.reason)
  where entry.quarantine_id = dismiss_quarantined_verdict.quarantine_id and entry.closed_at is null
  returning entry.library_id, entry.settlement_id, entry.outcome
  into dismissed;
  if not found then
    raise exception using
      errcode = 'LS002',
      message = format('there is no open quarantine entry %s', coalesce(quarantine_id::text, 'NULL')),
      hint = 'The view quarantine lists the open ones.';
  end if;

  delete from identity_sync.attempt
  where attempt.library_id = dismissed.library_id
    and attempt.settlement_id = dismissed.settlement_id
    and attempt.outcome = dismissed.outcome;
end;
$$;

revoke all on function identity_sync.dismiss_quarantined_verdict(bigint, text) from public;

comment on function identity_sync.dismiss_quarantined_verdict(bigint, text) is
  'Takes an open entry of the view quarantine and why it is dismissed; closes it and lifts the mark that it left. Raises LS001 for an empty reason, LS002 where no such entry is open, 55P03 where another session holds its library.';
