-- The common part of sql/dry-run.sql and sql/repair.sql: applies the file :verdicts within the caller's transaction,
-- then shows the report, the rows that change and what was refused. The file is UTF-8, whatever the terminal is.

\encoding UTF8
set local search_path = identity_sync, pg_catalog, pg_temp;
set local extra_float_digits = 1;
\set body `cat -- :'verdicts'`

select identity_snapshot(read_identity_answer(:'body')) as before \gset

\echo 'Report'
select jsonb_pretty(apply_identity_response(:'body', null)) as report;

set constraints all immediate;

\echo 'Rows that change'
select library_id, stored_row as row, column_name as column, old_value as old, new_value as new
from diff_snapshots(:'before', identity_snapshot(read_identity_answer(:'body')));

\echo 'Refused'
select library_id, path, value, reason
from quarantined_verdict
where settlement_id = (select currval('settlement_settlement_id_seq')) and closed_at is null
order by quarantine_id;
