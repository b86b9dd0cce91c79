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
