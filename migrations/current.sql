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

-- Which runs and holds an alert was sent of.
alter table identity_sync.run add column alerted_at timestamptz;
alter table identity_sync.planning_hold add column alerted_at timestamptz;

comment on column identity_sync.run.alerted_at is 'When a process took the end of the run to send an alert of it.';
comment on column identity_sync.planning_hold.alerted_at is 'When a process took the hold to send an alert of it.';
