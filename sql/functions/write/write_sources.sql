-- Writes the sources of written identities, one statement a kind of change, and none where nothing changes. What is
-- changed or removed is kept as it was. Each statement must touch the very rows compared.
create or replace function identity_sync_private.write_sources(
  identities identity_sync_private.judged_verdict[],
  sources identity_sync_private.compared_sources,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  reason text
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  touched integer;
begin
  if sources.uncompared > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      identity.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
      write_sources.verified_at, write_sources.origin
    from unnest(identities) as identity
    cross join lateral unnest(identity.sources) as judged
    where identity.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows of new identities', sources.uncompared, touched);
  end if;

  if sources.changed + sources.removed > 0 then
    perform identity_sync_private.assert_row_count(
      'source rows kept',
      sources.changed + sources.removed,
      identity_sync_private.archive_sources(sources.changes, settlement_id, reason)
    );
  end if;

  if sources.removed > 0 then
    delete from wxyc_schema.library_identity_source as known
    using unnest(sources.changes) as change
    where change.action = 'removed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows removed', sources.removed, touched);
  end if;

  if sources.changed > 0 then
    update wxyc_schema.library_identity_source as known
    set
      external_id = change.external_id,
      method = change.method,
      confidence = change.confidence,
      last_verified_at = write_sources.verified_at,
      notes = write_sources.origin
    from unnest(sources.changes) as change
    where change.action = 'changed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows changed', sources.changed, touched);
  end if;

  if sources.inserted > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      change.library_id, change.source, change.external_id, change.method, change.confidence,
      write_sources.verified_at, write_sources.origin
    from unnest(sources.changes) as change
    where change.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows inserted', sources.inserted, touched);

    -- Undoing must know what was added to an identity that was there; of a new identity everything was.
    insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
    select write_sources.settlement_id, change.library_id, change.source, change.action, write_sources.reason
    from unnest(sources.changes) as change
    where change.action = 'inserted' and not change.is_of_new_identity;
  end if;
end;
$$;

revoke all on function identity_sync_private.write_sources(
  identity_sync_private.judged_verdict[], identity_sync_private.compared_sources, text, timestamptz, bigint, text
) from public;

comment on function identity_sync_private.write_sources(
  identity_sync_private.judged_verdict[], identity_sync_private.compared_sources, text, timestamptz, bigint, text
) is
  'Takes compared verdicts, the changes to their source rows, and their origin, time, settlement and reason; writes the source rows. Raises LS006 where another writer or a trigger interfered.';
