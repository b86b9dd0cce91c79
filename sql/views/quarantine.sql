-- What was refused and is still open, for an operator who asks why: one entry a library, the latest refusal.
create or replace view identity_sync.quarantine as
select
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
left join identity_sync.settlement on settlement.settlement_id = entry.settlement_id
where entry.closed_at is null;

comment on view identity_sync.quarantine is
  'Verdicts that were refused and are still open: which library where known, the run, why, the path and value at fault, SQLSTATE and message, and the verdict as it came.';
