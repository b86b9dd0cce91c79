-- Holds the rows of a settlement's libraries against writers who take no lock of ours, so that what is found undoable
-- is undone as it was found.
create or replace function identity_sync_private.hold_written_rows(settlement_id bigint, ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  written constant integer[] := array(
    select listed.library_id
    from identity_sync_private.libraries_written(hold_written_rows.settlement_id) as listed (library_id)
    where ids is null or listed.library_id = any (ids)
    order by listed.library_id
  );
  credit_ids constant integer[] := array(
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = hold_written_rows.settlement_id
    union
    select unnest(settlement.linked_credit_ids)
    from identity_sync.settlement
    where settlement.settlement_id = hold_written_rows.settlement_id
  );
begin
  perform from wxyc_schema.library_identity as known
  where known.library_id = any (written)
  order by known.library_id
  for update;
  perform from wxyc_schema.library_identity_source as known
  where known.library_id = any (written)
  order by known.library_id, known.source
  for update;
  perform from wxyc_schema.compilation_track_artist as known
  where known.id = any (credit_ids) and (ids is null or known.library_id = any (ids))
  order by known.id
  for no key update;
end;
$$;

revoke all on function identity_sync_private.hold_written_rows(bigint, integer[]) from public;

comment on function identity_sync_private.hold_written_rows(bigint, integer[]) is
  'Takes a settlement and the libraries to undo (NULL: all); locks their main rows, source rows and credits until the transaction ends. Raises 55P03 where another session holds one for longer than lock_timeout.';
