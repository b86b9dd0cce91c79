-- The next migration begins here.

-- Who lives, and when it plans.
alter table identity_sync.worker
  add column version text,
  add column plan_cron text,
  add column seen_at timestamptz;

comment on column identity_sync.worker.version is 'Of the program that it runs.';
comment on column identity_sync.worker.plan_cron is 'The crontab time in UTC at which it plans; NULL: it plans nothing.';
comment on column identity_sync.worker.seen_at is
  'When it last said that it lives, which a worker does every five seconds and a run in the foreground every ten.';

drop function identity_sync.rescue_identity_runs(integer);
drop function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  boolean, integer, integer, boolean
);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb
);

-- The brake has three gauges.
alter table identity_sync.run
  add column accept text[] not null default '{}' check (accept <@ array['unresolved', 'refused', 'changed']),
  add column braked_by text check (braked_by in ('unresolved', 'refused', 'changed'));
update identity_sync.run set accept = array['unresolved'] where accept_unresolved;
update identity_sync.run set braked_by = 'unresolved' where braked_at is not null;
alter table identity_sync.run
  drop column accept_unresolved,
  add check ((braked_at is null) = (braked_by is null));

comment on column identity_sync.run.accept is 'The gauges of the brake that do not stop this run.';
comment on column identity_sync.run.braked_by is
  'The gauge that stopped the run: unresolved, refused or changed.';

alter table identity_sync.planning_hold
  add column gauge text check (gauge in ('unresolved', 'refused', 'changed')),
  add column share numeric;

comment on column identity_sync.planning_hold.gauge is 'Of the brake: what it measured.';
comment on column identity_sync.planning_hold.share is 'Of the brake: the share of the rows counted, 0 to 1.';

drop index identity_sync.settlement_brake_idx;
alter table identity_sync.settlement rename column brake_sample to unresolved_counted;
alter table identity_sync.settlement
  add column unresolved_seen integer not null default 0,
  add column refused_counted integer not null default 0,
  add column refused_seen integer not null default 0,
  add column changed_counted integer not null default 0,
  add column changed_seen integer not null default 0;
update identity_sync.settlement
set unresolved_seen = cardinality(brake_unresolved_ids), refused_counted = unresolved_counted
where unresolved_counted > 0;
alter table identity_sync.settlement drop column brake_unresolved_ids;

comment on column identity_sync.settlement.unresolved_counted is
  'Rows that held an identity or had never been requested: of them the brake measures unresolved_seen.';
comment on column identity_sync.settlement.refused_counted is
  'Verdicts that were judged: of them the brake measures refused_seen.';
comment on column identity_sync.settlement.changed_counted is
  'Identities confirmed or changed: of them the brake measures changed_seen, which name another artist.';

-- The brake looks for the latest answers that it counts, after every answer; what is counted was judged.
create index settlement_brake_idx on identity_sync.settlement (run_id, settlement_id) where refused_counted > 0;

create table identity_sync.brake_memory (
  settlement_id bigint primary key references identity_sync.settlement on delete cascade,
  unresolved_ids integer[] not null,
  refused_ids integer[] not null,
  changed_ids integer[] not null,
  attempts_before jsonb
);

comment on table identity_sync.brake_memory is
  'What the brake needs to take an answer''s marks back: the rows that each gauge counted, and their attempts as they were.';

alter table identity_sync.quarantined_verdict add column closed_by bigint;

comment on column identity_sync.quarantined_verdict.closed_by is
  'The settlement that closed the entry; where the brake takes that back, the entry is open again.';

create index quarantined_verdict_closed_by_idx
  on identity_sync.quarantined_verdict (closed_by)
  where closed_by is not null;

-- A compilation that LML could not read, though its tracks were linked before.
alter table identity_sync.attempt
  drop constraint attempt_outcome_check,
  add constraint attempt_outcome_check check (
    outcome in (
      'unresolved', 'compilation', 'compilation_unread', 'invalid_verdict', 'writer_error', 'poison_input',
      'manual_precedence', 'released', 'held'
    )
  );
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
