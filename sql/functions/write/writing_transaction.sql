-- Undoing tells by its transaction (xmin) whether a row is as a settlement left it. One row stands for all, since a
-- settlement's share is written in one subtransaction, whose number no function tells.
create or replace function identity_sync_private.writing_transaction(
  identities identity_sync_private.judged_verdict[],
  settlement_id bigint
)
returns xid[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  for place in 1..coalesce(cardinality(identities), 0) loop
    if identities[place].action in ('inserted', 'changed') or identities[place].version is not null then
      return array(
        select known.xmin
        from wxyc_schema.library_identity as known
        where known.library_id = identities[place].library_id
      );
    end if;
  end loop;
  return array(
    select superseded.xmin
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = writing_transaction.settlement_id
    order by superseded.superseded_id desc
    limit 1
  );
end;
$$;

revoke all on function identity_sync_private.writing_transaction(
  identity_sync_private.judged_verdict[], bigint
) from public;

comment on function identity_sync_private.writing_transaction(identity_sync_private.judged_verdict[], bigint) is
  'Takes identities just written and their settlement; returns the transaction of their rows, an empty array where nothing was written.';
