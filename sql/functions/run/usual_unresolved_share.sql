-- What share is usual tells an overloaded LML from a catalogue that it knows little of. Only real runs over the
-- catalogue count, and none that the brake stopped.
create or replace function identity_sync_private.usual_unresolved_share(run_id bigint)
returns numeric
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select sum(settlement.unresolved_seen)::numeric / nullif(sum(settlement.unresolved_counted), 0)
  from identity_sync.settlement
  join identity_sync.run on run.run_id = settlement.run_id
  where run.run_id < usual_unresolved_share.run_id
    and run.scope in ('due', 'refresh')
    and not run.dry_run
    and run.braked_by is null;
$$;

revoke all on function identity_sync_private.usual_unresolved_share(bigint) from public;

comment on function identity_sync_private.usual_unresolved_share(bigint) is
  'Takes a run; returns the share of unresolved rows among those counted in the runs before it, NULL where there were none.';
