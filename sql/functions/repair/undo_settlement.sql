-- Takes back one settlement of a run, as a settlement of the undo. That names what it wrote as any other does, so that
-- an undo can be undone.
create or replace function identity_sync_private.undo_settlement(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  undone_by xid[],
  ours xid[],
  undo_run_id bigint
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  reason constant text := format('undone by run %s, settlement %s', undo_run_id, this_settlement);
  origin constant text := format('undo:%s', session_user);
  found_rows identity_sync_private.undoing[];
  undoings identity_sync_private.undoing[];
  identities record;
  sources record;
  tracks record;
  undone_ids integer[];
  transaction xid;
begin
  perform identity_sync_private.hold_written_rows(settlement_id, ids);
  found_rows := identity_sync_private.find_undoable(settlement_id, ids, written_later, undone_before, ours);
  undoings := array(select undoing from unnest(found_rows) as undoing where undoing.fate = 'undone');

  select * into identities
  from identity_sync_private.undo_identities(undoings, reason);
  select * into sources
  from identity_sync_private.undo_sources(
    settlement_id, array(select undoing.library_id from unnest(undoings) as undoing), this_settlement, reason
  );
  select * into tracks
  from identity_sync_private.undo_track_links(settlement_id, ids, undone_by, this_settlement, reason);
  undone_ids := array(select undoing.library_id from unnest(undoings) as undoing) || tracks.restored_library_ids;

  if cardinality(undone_ids) > 0 then
    perform identity_sync_private.ask_again(undone_ids);

    insert into identity_sync.settlement (
      settlement_id, run_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids
    )
    overriding system value
    values (
      this_settlement, undo_run_id, origin, clock_timestamp(), 0, 0, identity_sync_private.empty_report(),
      identities.inserted_ids, identities.history_ids
    )
    returning xmin
    into transaction;
    update identity_sync.settlement
    set written_by = array[transaction]
    where settlement.settlement_id = this_settlement;
  end if;

  return jsonb_build_object(
    'identity', jsonb_build_object('removed', identities.removed, 'restored', identities.restored),
    'source', jsonb_build_object('removed', sources.removed, 'restored', sources.restored),
    'compilation_track', jsonb_build_object('restored', tracks.restored),
    'newer', tracks.newer + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'newer'),
    'held', tracks.held + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'held')
  );
end;
$$;

revoke all on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) from public;

comment on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) is
  'Takes a settlement, the libraries to undo (NULL: all), what writes_since returns of its run, and the run of the undo; returns the counts of rows removed, restored and left.';
