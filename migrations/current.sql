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
