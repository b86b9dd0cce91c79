-- The open refusals, so that an operator sees why: one entry a library, its latest refusal.
create or replace view identity_sync.quarantine as
select
  entry.quarantine_id,
  entry.library_id,
  settlement.run_id,
  entry.outcome,
  entry.reason,
  entry.path,
  entry.value,
  entry.sqlstate,
  entry.message,
  entry.constraint_name,
  coalesce(entry.verdict::text, entry.verdict_text) as verdict,
  entry.origin,
  entry.verified_at,
  entry.quarantined_at
from identity_sync.quarantined_verdict as entry
left join identity_sync.settlement
  on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
where entry.closed_at is null;

comment on view identity_sync.quarantine is
  'Open refusals: the number to dismiss one by, the library where known, its run, outcome and reason, the path and value at fault, SQLSTATE and message where the database refused, and the verdict as it came.';
