-- Keeps the cron from planning runs until a person resumes it, or until a time: for a deploy of LML, or while somebody
-- looks into a run. A run that is open goes on, and a run by hand is planned as ever.
create or replace function identity_sync.pause_identity_planning(reason text, until timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  perform identity_sync_private.check_reason(reason);
  if until <= clock_timestamp() then
    raise exception using
      errcode = 'LS001',
      message = format('until is %s', until),
      hint = 'Allowed: a time to come, or NULL until it is resumed.';
  end if;

  insert into identity_sync.planning_hold as hold (name, reason, ends_at)
  values ('paused', format('paused by %s: %s', session_user, reason), nullif(until, 'infinity'))
  on conflict (name) do update
  set reason = excluded.reason, ends_at = excluded.ends_at, since = clock_timestamp(), alerted_at = null;
end;
$$;

revoke all on function identity_sync.pause_identity_planning(text, timestamptz) from public;

comment on function identity_sync.pause_identity_planning(text, timestamptz) is
  'Takes why the cron shall plan nothing, and until when (NULL: until resume_identity_planning). Raises LS001 for an empty reason or a time that is past.';
