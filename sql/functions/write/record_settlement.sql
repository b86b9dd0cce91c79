-- Records one call of the writer: what it reported, what undoing it needs, and the sample that the brake is measured
-- on. The sample is of rows that held an identity or were never asked before.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempted_ids integer[],
  written identity_sync_private.write_result,
  report jsonb,
  run_id bigint,
  batch_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  scanned constant integer := cardinality(written.verdicts);
begin
  insert into identity_sync.settlement (
    settlement_id, run_id, batch_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, written_by, brake_sample, brake_unresolved_ids
  )
  overriding system value
  select
    record_settlement.settlement_id, record_settlement.run_id, record_settlement.batch_id,
    record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report,
    coalesce(array_agg(verdict.library_id) filter (where verdict.action = 'inserted'), '{}'),
    written.history_ids, written.linked_credit_ids, written.positioned_credit_ids, coalesce(written.written_by, '{}'),
    count(*) filter (where sample.is_in),
    coalesce(array_agg(verdict.library_id) filter (where sample.is_in and verdict.outcome = 'unresolved'), '{}')
  from unnest(written.verdicts) as verdict
  left join unnest(attempted_ids) as attempted (library_id) on attempted.library_id = verdict.library_id
  cross join lateral (
    select
      attempted.library_id is null
      and verdict.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved') as is_in
  ) as sample;
end;
$$;

revoke all on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb, bigint,
  bigint
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb, bigint,
  bigint
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), those with an attempt and no identity before, what was written, the report, and the run and the batch (NULL: a call by hand) that it belongs to; records them.';
