-- The libraries whose identity or source rows a settlement wrote; those that it only confirmed are not among them.
create or replace function identity_sync_private.libraries_written(settlement_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables that they were made for.
set enable_seqscan = off
set jit = off
as $$
  select distinct written.library_id
  from (
    select unnest(settlement.inserted_ids) as library_id
    from identity_sync.settlement
    where settlement.settlement_id = libraries_written.settlement_id
    union all
    select history.library_id
    from wxyc_schema.library_identity_history as history
    where history.history_id = any (
      array(
        select unnest(settlement.history_ids)
        from identity_sync.settlement
        where settlement.settlement_id = libraries_written.settlement_id
      )
    )
    union all
    select superseded.library_id
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = libraries_written.settlement_id
    -- The fence: without it the planner may read a whole index for the order that "distinct" likes.
    offset 0
  ) as written;
$$;

revoke all on function identity_sync_private.libraries_written(bigint) from public;

comment on function identity_sync_private.libraries_written(bigint) is
  'Takes a settlement; returns each library of which it inserted, changed or removed a main row or a source row.';
