-- A pause that has reached its end holds nothing, though its row stays until a person pauses or resumes again. Planning
-- and all that speaks of holds ask here.
create or replace function identity_sync_private.holds_in_force()
returns setof identity_sync.planning_hold
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select hold.*
  from identity_sync.planning_hold as hold
  where coalesce(hold.ends_at > clock_timestamp(), true);
$$;

revoke all on function identity_sync_private.holds_in_force() from public;

comment on function identity_sync_private.holds_in_force() is
  'Returns the holds that keep the cron from planning now.';
