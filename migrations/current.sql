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

-- What each library was called when LML last answered for it.
create table identity_sync.asked_as (
  library_id integer primary key,
  fingerprint bigint
);

comment on table identity_sync.asked_as is
  'The question of the last answer for a library: a fingerprint of the artist name and album title it was asked by. A library that is called otherwise now is due.';
comment on column identity_sync.asked_as.fingerprint is
  'NULL: the answer was taken back, and the library is due.';

alter table identity_sync.batch add column asked_as bigint[];

comment on column identity_sync.batch.asked_as is
  'The fingerprints of the last request, in the order of library_ids; NULL for a library that was left out of it.';

drop function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean);
drop function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean);
drop function identity_sync_private.rehearse_identity_verdicts(jsonb, integer[], text, timestamptz, boolean);
drop function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean);
