-- The next migration begins here.

-- A source row whose source or method is not known counts as such.
alter type identity_sync_private.judged_verdict add attribute unknown integer;

-- What is counted stays comparable with what was counted before.
--! include functions/report/empty_report.sql
update identity_sync.settlement
set report = report || '{"source_rows_unknown": 0}'
where not report ? 'source_rows_unknown';
update identity_sync.run
set report = report || '{"source_rows_unknown": 0}'
where not report ? 'source_rows_unknown';

alter table identity_sync.settlement add column unknown_names text[] not null default '{}';

comment on column identity_sync.settlement.unknown_names is
  'The sources, methods and keys of a result that LML named and this service does not know.';
