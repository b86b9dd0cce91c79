-- A link that a repair has made looks like a librarian's, so that no answer of the service touches it. The settlements
-- of repairs tell the two apart, so that a later repair can correct an earlier one.
create or replace function identity_sync_private.repaired_credits(library_ids integer[])
returns integer[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(repaired.credit_id), '{}')
  from (
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    join identity_sync.settlement on settlement.settlement_id = superseded.settlement_id
    where superseded.library_id = any (library_ids) and identity_sync_private.is_repair(settlement.origin)
    union
    select credit.id
    from identity_sync.settlement
    cross join lateral unnest(settlement.linked_credit_ids) as linked (credit_id)
    join wxyc_schema.compilation_track_artist as credit on credit.id = linked.credit_id
    where identity_sync_private.is_repair(settlement.origin) and credit.library_id = any (library_ids)
  ) as repaired;
$$;

revoke all on function identity_sync_private.repaired_credits(integer[]) from public;

comment on function identity_sync_private.repaired_credits(integer[]) is
  'Takes library ids; returns their credits that a repair has linked, or taken a link from.';
