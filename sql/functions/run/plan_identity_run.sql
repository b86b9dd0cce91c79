-- Opens a run: its batches, and the lanes that carry them, are made in one transaction or not at all. While the same
-- run (scope, partition, ids, dry_run) goes on, not overdue nor stopping, it is joined and keeps its settings; a dry
-- run neither joins nor blocks a real one. A run with nothing to ask is closed at once.
create or replace function identity_sync.plan_identity_run(
  scope text default 'due',
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false,
  partition_index integer default 0,
  partition_count integer default 1,
  ids integer[] default null,
  batch_size integer default 500,
  va_batch_size integer default 100,
  dry_run boolean default false,
  strict_bands boolean default false,
  lanes integer default 2,
  opened_by text default session_user,
  accept text[] default '{}',
  deadline_minutes integer default 60,
  call_budget integer default null,
  scheduled boolean default false
)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  named_ids constant integer[] := (
    select array_agg(distinct named.id order by named.id) from unnest(ids) as named (id) where named.id is not null
  );
  accepted_gauges constant text[] := array(select distinct gauge from unnest(accept) as gauge order by gauge);
  opened bigint;
  batch_count integer;
begin
  perform identity_sync_private.validate_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );
  perform identity_sync_private.check_range('batch_size', batch_size, 1, 1000, 'libraries, the cap of LML');
  perform identity_sync_private.check_range('va_batch_size', va_batch_size, 1, 1000, 'libraries, the cap of LML');
  perform identity_sync_private.check_range('lanes', lanes, 1, 32, 'calls in flight');
  perform identity_sync_private.check_range('deadline_minutes', deadline_minutes, 1, 1440, 'minutes');
  perform identity_sync_private.check_range(
    'call_budget', coalesce(call_budget, 1), 1, null, 'call and more, or NULL for no budget'
  );

  if not accepted_gauges <@ array['unresolved', 'refused', 'changed'] then
    raise exception using
      errcode = 'LS001',
      message = format('accept is %s', array_to_string(accept, ', ')),
      hint = 'Allowed: unresolved, refused, changed.';
  end if;

  if scheduled and exists (select from identity_sync_private.holds_in_force()) then
    return null;
  end if;

  -- One planner at a time, so that no two runs cut the same library into their batches.
  lock table identity_sync.plan_mutex in exclusive mode;

  perform identity_sync_private.end_overdue_runs();

  select run.run_id
  into opened
  from identity_sync.run
  where run.finished_at is null
    and run.stop_cause is null
    and run.scope = plan_identity_run.scope
    and run.partition_index = plan_identity_run.partition_index
    and run.partition_count = plan_identity_run.partition_count
    and run.ids is not distinct from named_ids
    and run.dry_run = plan_identity_run.dry_run;

  if found then
    perform identity_sync_private.tell_of_joined_run(
      opened,
      jsonb_build_object(
        'stale_days', stale_days,
        'unresolved_retry_days', unresolved_retry_days,
        'include_null_canonical', include_null_canonical,
        'batch_size', batch_size,
        'va_batch_size', va_batch_size,
        'strict_bands', strict_bands,
        'accept', accepted_gauges,
        'deadline_minutes', deadline_minutes,
        'call_budget', call_budget
      )
    );
    perform identity_sync.enqueue_lanes(opened, lanes);
    return opened;
  end if;

  insert into identity_sync.run (
    scope, dry_run, stale_days, unresolved_retry_days, include_null_canonical,
    partition_index, partition_count, ids, strict_bands, accept, call_budget, batch_size, va_batch_size,
    deadline_at, scheduled, opened_by, unaskable_ids
  )
  values (
    plan_identity_run.scope, plan_identity_run.dry_run, plan_identity_run.stale_days,
    plan_identity_run.unresolved_retry_days, plan_identity_run.include_null_canonical,
    plan_identity_run.partition_index, plan_identity_run.partition_count, named_ids,
    plan_identity_run.strict_bands, accepted_gauges, plan_identity_run.call_budget,
    plan_identity_run.batch_size, plan_identity_run.va_batch_size,
    clock_timestamp() + make_interval(mins => deadline_minutes), plan_identity_run.scheduled,
    plan_identity_run.opened_by,
    array(
      select named.id
      from unnest(named_ids) as named (id)
      left join wxyc_schema.library on library.id = named.id
      where plan_identity_run.scope = 'ids' and not identity_sync_private.has_name(library.artist_name)
      order by named.id
    )
  )
  returning run_id into opened;

  batch_count := identity_sync_private.cut_batches(
    run_id => opened,
    -- Ids that are all NULL, or none, select nothing; only ids => NULL means no limit.
    ids => coalesce(named_ids, case when ids is not null then '{}'::integer[] end),
    batch_size => batch_size,
    va_batch_size => va_batch_size
  );

  if batch_count = 0 then
    perform identity_sync_private.close_identity_run(opened);
  else
    perform identity_sync.enqueue_lanes(opened, lanes);
  end if;

  return opened;
end;
$$;

revoke all on function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  text[], integer, integer, boolean
) from public;

comment on function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  text[], integer, integer, boolean
) is
  'Takes the parameters of identity_candidates, the libraries a batch of either cohort (1 to 1000), whether all writes are rolled back, whether bands are strict, the calls in flight (1 to 32), who opens the run, the gauges of the brake that do not stop it (unresolved, refused, changed), its deadline in minutes (1 to 1440), its budget of calls (NULL: none), and whether the cron plans it; returns the id of the opened or joined run, or NULL where a planning hold stops the cron. Tells of a joined run in a notice (LS008), a warning where it keeps other settings than those asked for. Raises LS001 for a value out of range.';
