-- Which call of the writer said what stands in a row: the one of the answer that the row was verified by. Answers have
-- times of their own to the microsecond, and where two share one, the batch tells.
create or replace function identity_sync_private.settlement_of(verified_at timestamptz, library_id integer)
returns identity_sync.settlement
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select settlement.*
  from identity_sync.settlement
  left join identity_sync.batch on batch.batch_id = settlement.batch_id
  where settlement.verified_at = settlement_of.verified_at
    and not settlement.dry_run
    and settlement.is_answer
  order by coalesce(settlement_of.library_id = any (batch.library_ids), false) desc, settlement.settlement_id desc;
$$;

revoke all on function identity_sync_private.settlement_of(timestamptz, integer) from public;

comment on function identity_sync_private.settlement_of(timestamptz, integer) is
  'Takes the time that a row was verified at, and its library; returns the settlement of that answer, NULL where it is not known.';
