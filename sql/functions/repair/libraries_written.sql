-- The libraries whose identity or source rows a settlement wrote; those that it only confirmed are not among them.
create or replace function identity_sync_private.libraries_written(settlement_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select unnest(settlement.inserted_ids)
  from identity_sync.settlement
  where settlement.settlement_id = libraries_written.settlement_id
  union
  select history.library_id
  from identity_sync.settlement
  cross join lateral unnest(settlement.history_ids) as kept (history_id)
  join wxyc_schema.library_identity_history as history on history.history_id = kept.history_id
  where settlement.settlement_id = libraries_written.settlement_id
  union
  select superseded.library_id
  from identity_sync.superseded_source as superseded
  where superseded.settlement_id = libraries_written.settlement_id;
$$;

revoke all on function identity_sync_private.libraries_written(bigint) from public;

comment on function identity_sync_private.libraries_written(bigint) is
  'Takes a settlement; returns each library of which it inserted, changed or removed a main row or a source row.';
