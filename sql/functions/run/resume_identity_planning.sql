-- Lets the cron plan again, because a person has acted: a restarted worker may have another key, a run by hand has
-- shown that LML is well, or a pause is over.
create or replace function identity_sync.resume_identity_planning(name text default null)
returns text[]
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  lifted text[];
begin
  if name not in ('paused', 'key_refused', 'brake') then
    raise exception using
      errcode = 'LS001',
      message = format('name is %L', name),
      hint = 'Allowed: paused, key_refused, brake, or NULL for all of them.';
  end if;

  with gone as (
    delete from identity_sync.planning_hold as hold
    where resume_identity_planning.name is null or hold.name = resume_identity_planning.name
    returning hold.name, hold.ends_at
  )
  select coalesce(array_agg(gone.name order by gone.name), '{}')
  into lifted
  from gone
  where coalesce(gone.ends_at > clock_timestamp(), true);
  return lifted;
end;
$$;

revoke all on function identity_sync.resume_identity_planning(text) from public;

comment on function identity_sync.resume_identity_planning(text) is
  'Takes the name of a hold on planning (paused, key_refused, brake; NULL: every one) and lifts it; returns the names of those that were in force. Raises LS001 for another name.';
