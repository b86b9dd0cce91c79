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
drop function identity_sync_private.apply_poison_input(bigint, integer, text, text, timestamptz, boolean);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb
);

alter table identity_sync.quarantined_verdict add column asked_as bigint;

comment on column identity_sync.quarantined_verdict.asked_as is
  'The fingerprint that the library was asked by; NULL where it is not known, as for a repair.';
