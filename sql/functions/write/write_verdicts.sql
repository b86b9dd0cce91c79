-- Writes judged identities: compares, then issues one statement a kind of change, and none where nothing changes.
-- It does all of it or raises, so that its caller can isolate a culprit; called again with the same verdicts it moves
-- nothing but last_verified_at.
create or replace function identity_sync_private.write_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  reason constant text := format('verdict of %s, settlement %s', origin, settlement_id);
  identities identity_sync_private.judged_verdict[];
  sources identity_sync_private.compared_sources;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
begin
  identities := identity_sync_private.compare_identities(verdicts, verified_at, is_repair);
  written.history_ids := identity_sync_private.write_identities(identities, origin, verified_at, reason);

  sources := identity_sync_private.compare_sources(identities);
  perform identity_sync_private.write_sources(identities, sources, origin, verified_at, settlement_id, reason);

  -- Check deferred constraints now, while bisection can still isolate the offending verdict.
  set constraints all immediate;

  written.written_by := identity_sync_private.writing_transaction(identities, settlement_id);
  written.verdicts := identities;
  written.source_inserted := sources.uncompared + sources.inserted;
  written.source_changed := sources.changed;
  written.source_unchanged := sources.unchanged;
  written.source_removed := sources.removed;
  return written;
end;
$$;

revoke all on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) is
  'Takes judged single_artist verdicts, whose libraries the caller has locked, with their origin, time and settlement; writes them and returns them with their final outcomes. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
