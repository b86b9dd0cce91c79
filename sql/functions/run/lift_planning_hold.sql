-- Lets the cron plan again, because a person has acted: a worker that was started anew may have another key.
create or replace function identity_sync.lift_planning_hold(name text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from identity_sync.planning_hold where planning_hold.name = lift_planning_hold.name;
$$;

revoke all on function identity_sync.lift_planning_hold(text) from public;

comment on function identity_sync.lift_planning_hold(text) is
  'Takes the name of a planning hold (key_refused, brake) and lifts it; one that is not in force changes nothing.';
