-- Copies source rows, as they are, into superseded_source before they are changed or removed.
create or replace function identity_sync_private.archive_sources(
  changes identity_sync_private.source_change[],
  settlement_id bigint,
  reason text
)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  archived integer;
begin
  insert into identity_sync.superseded_source (
    settlement_id, library_id, source, action,
    external_id, method, confidence, last_verified_at, boost_sources, notes, superseded_reason
  )
  select
    archive_sources.settlement_id, known.library_id, known.source, change.action,
    known.external_id, known.method, known.confidence, known.last_verified_at, known.boost_sources, known.notes,
    archive_sources.reason
  from unnest(changes) as change
  join wxyc_schema.library_identity_source as known
    on known.library_id = change.library_id and known.source = change.source
  where change.action in ('changed', 'removed');
  get diagnostics archived = row_count;
  return archived;
end;
$$;

revoke all on function identity_sync_private.archive_sources(
  identity_sync_private.source_change[], bigint, text
) from public;

comment on function identity_sync_private.archive_sources(identity_sync_private.source_change[], bigint, text) is
  'Takes changes to source rows, the settlement that makes them and why; returns how many rows it copied.';
