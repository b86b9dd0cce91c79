-- The next migration begins here.

-- Every call of the writer belongs to a run, also one by hand.
alter table identity_sync.run
  drop constraint run_scope_check,
  add constraint run_scope_check check (
    scope in ('due', 'refresh', 'recheck', 'ids', 'repair', 'preview', 'replay', 'hold', 'release', 'undo')
  ),
  add column of_run_id bigint;

comment on table identity_sync.run is
  'A run: one pass over the rows that were due when it was planned, or one call of the writer by hand. It keeps its report.';
comment on column identity_sync.run.scope is
  'Which rows were planned; or what was done by hand: repair, preview (applied), replay, hold, release, undo.';
comment on column identity_sync.run.of_run_id is
  'The run that was undone, replayed, or previewed, of one by hand.';

alter table identity_sync.settlement add column written_by xid[] not null default '{}';

comment on column identity_sync.settlement.written_by is
  'The transactions (xmin) of the rows that it wrote or confirmed: a row with another was changed by somebody else since.';

alter type identity_sync_private.write_result add attribute written_by xid[];

-- A library that a settlement wrote, and whether it can be taken back: fate is undone, newer or held. was_absent: it had
-- no main row before; history_id is that row as it was; is_there whether it has one now.
create type identity_sync_private.undoing as (
  library_id integer,
  was_absent boolean,
  history_id integer,
  is_there boolean,
  fate text
);

drop function identity_sync.apply_identity_preview(bigint);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb
);

drop function identity_sync.lift_planning_hold(text);

alter table identity_sync.planning_hold
  drop constraint planning_hold_name_check,
  add check (name in ('paused', 'key_refused', 'brake')),
  add column ends_at timestamptz;

comment on column identity_sync.planning_hold.ends_at is
  'When it ends by itself; NULL where a person lifts it.';

alter table identity_sync.attempt
  drop constraint attempt_outcome_check,
  add constraint attempt_outcome_check check (
    outcome in (
      'unresolved', 'compilation', 'invalid_verdict', 'writer_error', 'poison_input', 'manual_precedence', 'released',
      'held'
    )
  );

comment on column identity_sync.attempt.outcome is
  'The outcome of the last answer; released and held are an operator''s marks: the row is due, or is not asked, whatever else holds.';

drop function identity_sync.replay_quarantined_verdicts(bigint);
