-- Keeps a library as it is, as a repair would, until it is released: the service's verdicts over it are
-- manual_precedence. An identity is marked in its notes, with a history row, so that the hold goes where the identity
-- goes; a library without one gets the mark held, and is not asked meanwhile.
create or replace function identity_sync.hold_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  held_at constant timestamptz := clock_timestamp();
  kept_history_ids integer[] := array[]::integer[];
begin
  perform identity_sync_private.check_reason(reason);
  if not exists (select from wxyc_schema.library where library.id = hold_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  perform from wxyc_schema.library_identity as known
  where known.library_id = hold_identity.library_id
  for no key update;
  if found then
    kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'hold');
    update wxyc_schema.library_identity as known
    set notes = identity_sync_private.repair_origin(session_user)
    where known.library_id = hold_identity.library_id;
  else
    perform identity_sync_private.replace_attempt(library_id, 'held', held_at, this_settlement, held_at);
  end if;

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), held_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select known.xmin from wxyc_schema.library_identity as known where known.library_id = hold_identity.library_id
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'hold', held_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id, 'identity', case when kept_history_ids = '{}' then 'none' else 'held' end
  );
end;
$$;

revoke all on function identity_sync.hold_identity(integer, text) from public;

comment on function identity_sync.hold_identity(integer, text) is
  'Takes a library and why it is held; keeps it from being written until release_identity, and returns whether an identity is held or none is there. Raises LS001 for an empty reason, LS002 for an unknown library.';
