-- The next migration begins here.

-- An advisory lock could be taken by any login that may connect.
create table identity_sync.claim_mutex ();
create table identity_sync.plan_mutex ();

comment on table identity_sync.claim_mutex is
  'Holds no row: who claims a batch or rescues runs locks it, so that claims come one after another.';
comment on table identity_sync.plan_mutex is
  'Holds no row: who plans a run locks it, so that no two runs take the same library.';
-- A claim looks at what is in flight and at open runs, which are few beside what is open, over, or kept.
create index if not exists batch_held_idx
  on identity_sync.batch (run_id, batch_id)
  where closed_at is null and state in ('in_flight', 'answered');
create index if not exists run_open_idx on identity_sync.run (run_id) where finished_at is null;

-- What said a row is found by the time of its answer, and what changed it by the time of the change.
create index if not exists settlement_verified_idx on identity_sync.settlement (verified_at);
create index if not exists settlement_settled_idx on identity_sync.settlement (settled_at);
