-- The next migration begins here.

-- An advisory lock could be taken by any login that may connect.
create table identity_sync.claim_mutex ();
create table identity_sync.plan_mutex ();

comment on table identity_sync.claim_mutex is
  'Holds no row: who claims a batch or rescues runs locks it, so that claims come one after another.';
comment on table identity_sync.plan_mutex is
  'Holds no row: who plans a run locks it, so that no two runs take the same library.';
