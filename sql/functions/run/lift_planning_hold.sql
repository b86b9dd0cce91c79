-- Lets the cron plan again, because a person has acted: a worker started anew has a key that is to be tried, and a run
-- that was told to accept what is unresolved has succeeded.
create or replace function identity_sync.lift_planning_hold(name text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from identity_sync.planning_hold where planning_hold.name = lift_planning_hold.name;
$$;

revoke all on function identity_sync.lift_planning_hold(text) from public;

comment on function identity_sync.lift_planning_hold(text) is
  'Takes the name of a hold (key_refused, shed); lifts it where it is in force.';
