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
        to_jsonb(hold) - 'alerted_at' || jsonb_build_object('cures', case hold.name
          when 'key_refused' then jsonb_build_array(
            jsonb_build_object('purpose', 'set LML_API_KEY, then', 'command', 'identity-sync run'),
            jsonb_build_object('purpose', 'or start the worker anew', 'command', 'identity-sync worker')
          )
          when 'paused' then jsonb_build_array(
            jsonb_build_object('purpose', 'go on', 'command', 'identity-sync resume paused')
          )
          when 'brake' then jsonb_build_array(
            jsonb_build_object('purpose', 'look', 'command', format('identity-sync diff --run %s', hold.run_id)),
            jsonb_build_object('purpose', 'take back', 'command', format('identity-sync undo --run %s', hold.run_id)),
            jsonb_build_object('purpose', 'when LML is well', 'command', 'identity-sync run'),
            jsonb_build_object(
              'purpose', 'where its answers are right',
              'command', format('identity-sync run --accept %s', coalesce(hold.gauge, 'unresolved'))
            )
          )
        end)
        order by hold.since desc, hold.name
      ),
      '[]'
    )
  from identity_sync_private.holds_in_force() as hold;
$$;

revoke all on function identity_sync_private.planning_holds() from public;

comment on function identity_sync_private.planning_holds() is
  'Returns the planning holds in force, the latest first, each with its reason, run, time and cures (purpose and command).';
