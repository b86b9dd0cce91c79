-- What keeps the cron from planning, each hold with the commands that cure it, in the order in which a person would try
-- them: to look comes before to act.
create or replace function identity_sync_private.planning_holds()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        to_jsonb(hold) - 'alerted_at' || jsonb_build_object('cures', cure.steps) order by hold.since desc, hold.name
      ),
      '[]'
    )
  from identity_sync_private.holds_in_force() as hold
  cross join lateral (
    select jsonb_agg(jsonb_build_object('purpose', step.purpose, 'command', step.command) order by step.place) as steps
    from (
      values
        ('key_refused', 1, 'set LML_API_KEY, then', 'identity-sync run'),
        ('key_refused', 2, 'or start the worker anew', 'identity-sync worker'),
        ('paused', 1, 'go on', 'identity-sync resume paused'),
        ('brake', 1, 'look', format('identity-sync diff --run %s', hold.run_id)),
        ('brake', 2, 'take back', format('identity-sync undo --run %s', hold.run_id)),
        ('brake', 3, 'when LML is well', 'identity-sync run'),
        (
          'brake', 4, 'where its answers are right',
          format('identity-sync run --accept %s', coalesce(hold.gauge, 'unresolved'))
        )
    ) as step (hold, place, purpose, command)
    where step.hold = hold.name
      -- What was taken back is not offered again, until that was taken back too.
      and not (
        step.purpose = 'take back'
        and exists (
          select
          from identity_sync.run as undone
          where undone.scope = 'undo'
            and undone.of_run_id = hold.run_id
            and undone.ids is null
            and not exists (
              select from identity_sync.run as again where again.scope = 'undo' and again.of_run_id = undone.run_id
            )
        )
      )
  ) as cure;
$$;

revoke all on function identity_sync_private.planning_holds() from public;

comment on function identity_sync_private.planning_holds() is
  'Returns the planning holds in force, the latest first, each with its reason, run, time and cures (purpose and command).';
