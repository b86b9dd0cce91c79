-- Hands each alert to the first process that asks, so that a webhook hears of a run or a hold once, however many
-- processes carry the work. Only a process that can send asks; a run that ended a day ago is no news, and of a call by
-- hand its caller has been told. The text is escaped as Slack wants it.
create or replace function identity_sync.take_identity_alerts()
returns setof jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  with ended as (
    update identity_sync.run
    set alerted_at = clock_timestamp()
    where run.finished_at > clock_timestamp() - interval '1 day'
      and run.alerted_at is null
      and not run.dry_run
      and run.outcome <> 'completed'
      and run.stop_cause is distinct from 'hand'
      and run.scope in ('due', 'refresh', 'recheck', 'ids')
    returning run.*
  ),
  held as (
    update identity_sync.planning_hold as hold
    set alerted_at = clock_timestamp()
    where hold.alerted_at is null and hold.name in (select name from identity_sync_private.holds_in_force())
    returning hold.*
  )
  select
    told.alert
    || jsonb_build_object(
      'text',
      'library-identity-sync: ' || replace(replace(replace(told.words, '&', '&amp;'), '<', '&lt;'), '>', '&gt;')
    )
  from (
    select
      jsonb_build_object(
        'alert', 'run_ended_badly',
        'at', ended.finished_at,
        'run', identity_sync_private.describe_ended_run(ended)
      ),
      concat_ws(': ', format('run %s %s', ended.run_id, ended.outcome), ended.outcome_reason)
    from ended
    union all
    select
      jsonb_build_object('alert', 'hold_began', 'at', held.since, 'hold', to_jsonb(held) - 'alerted_at'),
      format('planning is on hold (%s): %s', held.name, held.reason)
    from held
  ) as told (alert, words);
$$;

revoke all on function identity_sync.take_identity_alerts() from public;

comment on function identity_sync.take_identity_alerts() is
  'Returns an alert for each run that ended badly within a day and each hold that began, which no process has taken yet, and marks them as taken: alert (run_ended_badly, hold_began), text (with &, < and > escaped), at, and run or hold.';
