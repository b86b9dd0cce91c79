-- The next migration begins here.
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
drop function identity_sync.identity_run_progress(bigint);
