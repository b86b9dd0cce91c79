-- Shows how things stand: psql "$DATABASE_URL" -f sql/status.sql
-- Reads only, and shows the same document as `identity-sync status`. What the settings of a worker make due may differ:
-- identity_status() takes them as arguments.

select pg_catalog.set_config('search_path', 'identity_sync, pg_catalog, pg_temp', false) as path
\gset

select identity_sync.identity_status() as status
\gset

\echo 'Holds on planning, and what cures them'
select hold.name, hold.run_id, hold.since, hold.reason, cure.purpose, cure.command
from jsonb_to_recordset(:'status'::jsonb #> '{planning,holds}')
  as hold (name text, run_id bigint, since timestamptz, reason text, cures jsonb)
cross join lateral jsonb_to_recordset(hold.cures) as cure (purpose text, command text);

\echo 'Open runs'
select run.run_id, run.scope, run.done, run.planned, run.rows_per_second, run.seconds_left, run.calls_in_flight,
  wait.what as waits_for, wait.until
from jsonb_to_recordset(:'status'::jsonb -> 'open_runs') as run (
  run_id bigint, scope text, done bigint, planned bigint, rows_per_second numeric, seconds_left numeric,
  calls_in_flight bigint, waits jsonb
)
left join lateral jsonb_to_recordset(run.waits) as wait (what text, until timestamptz) on true;

\echo 'Runs'
select *
from jsonb_to_recordset(:'status'::jsonb -> 'runs') as run (
  run_id bigint, scope text, dry_run boolean, outcome text, stop_cause text, finished_at timestamptz, planned bigint,
  scanned bigint, changed bigint, new bigint, confirmed bigint, unresolved bigint, refused bigint, outcome_reason text
);

\echo 'Planning'
select part.key, part.value
from jsonb_each_text((:'status'::jsonb -> 'planning') - 'holds') as part;

\echo 'Workers'
select *
from jsonb_to_recordset(:'status'::jsonb -> 'workers') as worker (
  name text, version text, plan_cron text, is_alive boolean, seen_at timestamptz, calls_in_flight bigint
);

\echo 'LML'
select part.key, part.value
from jsonb_each_text(:'status'::jsonb -> 'lml') as part;

\echo 'Catalogue'
select part.key, part.value
from jsonb_each_text((:'status'::jsonb -> 'catalogue') - 'due_by_reason') as part;

\echo 'Due now, by reason'
select part.key as reason, part.value as due
from jsonb_each_text(:'status'::jsonb #> '{catalogue,due_by_reason}') as part;

\echo 'Quarantine'
select *
from jsonb_to_recordset(:'status'::jsonb #> '{quarantine,by_reason}') as refused (
  outcome text, field text, sqlstate text, entries bigint, oldest_at timestamptz, reason text
);

\echo 'Coverage'
select * from identity_sync.coverage;

\echo 'Gate'
select * from identity_sync.gate;
