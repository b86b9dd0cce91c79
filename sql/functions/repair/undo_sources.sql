-- Makes source rows what they were before a settlement, one statement a kind of change, and none where there is no such
-- change. What goes or changes is kept first, as by the writer, so that an undo can be undone.
create or replace function identity_sync_private.undo_sources(
  settlement_id bigint,
  ids integer[],
  undo_settlement_id bigint,
  reason text,
  out removed integer,
  out restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  written_by constant xid[] := (
    select settlement.written_by
    from identity_sync.settlement
    where settlement.settlement_id = undo_sources.settlement_id
  );
  -- What the settlement inserted goes; what it changed was kept, and comes back.
  changes constant identity_sync_private.source_change[] := array(
    select
      row(
        known.library_id, known.source, superseded.external_id, superseded.method, superseded.confidence,
        case superseded.action when 'changed' then 'changed' else 'removed' end, known.ctid, false
      )::identity_sync_private.source_change
    from wxyc_schema.library_identity_source as known
    left join identity_sync.superseded_source as superseded
      on superseded.library_id = known.library_id
      and superseded.source = known.source
      and superseded.settlement_id = undo_sources.settlement_id
    where known.library_id = any (ids) and known.xmin = any (written_by)
  );
  touched integer;
begin
  removed := 0;
  restored := 0;
  perform identity_sync_private.archive_sources(changes, undo_settlement_id, reason);

  if exists (select from unnest(changes) as change where change.action = 'removed') then
    delete from wxyc_schema.library_identity_source as known
    using unnest(changes) as change
    where change.action = 'removed' and known.library_id = change.library_id and known.source = change.source;
    get diagnostics removed = row_count;
  end if;

  if exists (select from unnest(changes) as change where change.action = 'changed') then
    update wxyc_schema.library_identity_source as known
    set
      external_id = superseded.external_id,
      method = superseded.method,
      confidence = superseded.confidence,
      last_verified_at = superseded.last_verified_at,
      boost_sources = superseded.boost_sources,
      notes = superseded.notes
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_sources.settlement_id
      and superseded.action = 'changed'
      and known.library_id = superseded.library_id
      and known.source = superseded.source;
    get diagnostics restored = row_count;
  end if;

  if exists (
    select
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_sources.settlement_id and superseded.action = 'removed'
  ) then
    with returned as (
      insert into wxyc_schema.library_identity_source (
        library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes
      )
      select
        superseded.library_id, superseded.source, superseded.external_id, superseded.method, superseded.confidence,
        superseded.last_verified_at, superseded.boost_sources, superseded.notes
      from unnest(ids) as undone (library_id)
      join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
      where superseded.settlement_id = undo_sources.settlement_id and superseded.action = 'removed'
      returning library_id, source
    )
    insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
    select undo_settlement_id, returned.library_id, returned.source, 'inserted', reason
    from returned;
    get diagnostics touched = row_count;
    restored := restored + touched;
  end if;
end;
$$;

revoke all on function identity_sync_private.undo_sources(bigint, integer[], bigint, text) from public;

comment on function identity_sync_private.undo_sources(bigint, integer[], bigint, text) is
  'Takes a settlement, the libraries to undo, the settlement of the undo and its reason; returns the counts of source rows removed and restored.';
