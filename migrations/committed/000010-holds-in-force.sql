--! Previous: sha1:1ed0001969db19f26c69b4f30ffb054c41310bcc
--! Hash: sha1:fad7c62efeb19f36177aece4cc6e019de795c2ed
--! Message: Holds in force

-- The next migration begins here.

--! Included functions/report/holds_in_force.sql
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
--! EndIncluded functions/report/holds_in_force.sql
--! Included functions/run/stop_identity_run.sql
-- Stops a run for its first cause: batches that no lane holds are abandoned and stay due, and calls in flight finish.
-- Stopping it once more abandons what was opened again or lost its lease since. With opened_by, a process stops only a
-- run that it opened itself; one that it merely joined goes on.
create or replace function identity_sync.stop_identity_run(
  run_id bigint,
  reason text,
  opened_by text default null,
  cause text default 'hand'
)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: the report of the run shows it.';
  end if;

  update identity_sync.run
  set stop_reason = coalesce(run.stop_reason, reason), stop_cause = coalesce(run.stop_cause, cause)
  where run.run_id = stop_identity_run.run_id
    and run.finished_at is null
    and (stop_identity_run.opened_by is null or run.opened_by = stop_identity_run.opened_by);

  if not found then
    return false;
  end if;

  -- A batch that another session holds is being claimed or finished right now.
  update identity_sync.batch
  set state = 'abandoned', leased_by = null, leased_until = null, closed_at = clock_timestamp()
  where batch.batch_id in (
    select unheld.batch_id
    from identity_sync.batch as unheld
    where unheld.run_id = stop_identity_run.run_id
      and (
        unheld.state = 'open'
        or unheld.closed_at is null and unheld.leased_until < clock_timestamp() and unheld.answer is null
      )
    for update skip locked
  );

  perform identity_sync_private.close_identity_run(run_id);
  return true;
end;
$$;

revoke all on function identity_sync.stop_identity_run(bigint, text, text, text) from public;

comment on function identity_sync.stop_identity_run(bigint, text, text, text) is
  'Takes a run, the reason, who must have opened the run (NULL: anybody), and the cause (hand, deadline, budget, key, brake, breaker); abandons every batch that no lane holds, and ends the run once no call is in flight. Returns false where no such run is open. Raises LS001 for an empty reason.';
--! EndIncluded functions/run/stop_identity_run.sql
--! Included functions/run/take_back_marks.sql
-- Makes the marks and the quarantine of the rows that a gauge counted what they were before these answers, so that the
-- rows are due. A mark or an entry that anybody has changed since stays as it is.
create or replace function identity_sync_private.take_back_marks(settlement_ids bigint[], gauge text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  memory record;
begin
  for memory in
    select
      kept.settlement_id,
      kept.attempts_before,
      case gauge
        when 'unresolved' then kept.unresolved_ids
        when 'refused' then kept.refused_ids
        else kept.changed_ids
      end as library_ids
    from identity_sync.brake_memory as kept
    where kept.settlement_id = any (settlement_ids)
    order by kept.settlement_id
  loop
    -- A row that loses its mark has got no answer that counts, so it forgets what it was asked by.
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    update identity_sync.asked_as
    set fingerprint = null
    where asked_as.library_id in (
      select lifted.library_id
      from lifted
      union all
      -- The mark of an identity is its own time, which stays with what was written.
      select unnest(memory.library_ids)
      where gauge = 'changed'
    );

    insert into identity_sync.attempt
    select before.*
    from jsonb_populate_recordset(null::identity_sync.attempt, memory.attempts_before) as before
    where before.library_id = any (memory.library_ids)
    order by before.library_id
    on conflict (library_id) do nothing;

    update identity_sync.quarantined_verdict as entry
    set closed_at = clock_timestamp(), closed_reason = 'taken back by the brake'
    where entry.settlement_id = memory.settlement_id
      and entry.closed_at is null
      and entry.outcome in ('invalid_verdict', 'writer_error')
      and (entry.library_id = any (memory.library_ids) or entry.library_id is null and gauge = 'refused');

    update identity_sync.quarantined_verdict as entry
    set closed_at = null, closed_reason = null, closed_by = null
    where entry.closed_by = memory.settlement_id
      and entry.library_id = any (memory.library_ids)
      and not exists (
        select
        from identity_sync.quarantined_verdict as newer
        where newer.library_id = entry.library_id and newer.closed_at is null
      );
  end loop;
end;
$$;

revoke all on function identity_sync_private.take_back_marks(bigint[], text) from public;

comment on function identity_sync_private.take_back_marks(bigint[], text) is
  'Takes settlements and the gauge that counted their rows (unresolved, refused, changed); restores the attempts of these rows, closes the quarantine entries they made and opens those they closed.';
--! EndIncluded functions/run/take_back_marks.sql
--! Included functions/run/pause_identity_planning.sql
-- Keeps the cron from planning runs until a person resumes it, or until a time: for a deploy of LML, or while somebody
-- looks into a run. A run that is open goes on, and a run by hand is planned as ever.
create or replace function identity_sync.pause_identity_planning(reason text, until timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: status shows it.';
  end if;
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
--! EndIncluded functions/run/pause_identity_planning.sql
--! Included functions/run/plan_identity_run.sql
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
  perform pg_advisory_xact_lock(hashtext('identity_sync.plan_identity_run'));

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
--! EndIncluded functions/run/plan_identity_run.sql
--! Included functions/run/resume_identity_planning.sql
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
--! EndIncluded functions/run/resume_identity_planning.sql
--! Included functions/upkeep/prune_identity_sync.sql
-- Deletes what is of no use any more: batches of runs that ended long ago with their calls and kept answers, quarantine
-- that was closed long ago, marks of libraries that are gone, and workers that are gone. What undoing needs stays for
-- ever: history, superseded rows and settlements. A run keeps its report.
create or replace function identity_sync.prune_identity_sync(keep_days integer)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  keep_after timestamptz;
begin
  perform identity_sync_private.check_range('keep_days', keep_days, 1, 1000000, 'days');
  keep_after := clock_timestamp() - make_interval(days => keep_days);

  with pruned as (
    update identity_sync.run
    set batches_pruned_at = clock_timestamp()
    where run.finished_at < keep_after and run.batches_pruned_at is null
    returning run.run_id
  )
  delete from identity_sync.batch
  using pruned
  where batch.run_id = pruned.run_id;

  -- Nothing can be replayed or asked for them any more.
  update identity_sync.quarantined_verdict
  set closed_at = clock_timestamp(), closed_reason = 'the library is gone'
  where quarantined_verdict.closed_at is null
    and quarantined_verdict.library_id is not null
    and not exists (select from wxyc_schema.library where library.id = quarantined_verdict.library_id);

  delete from identity_sync.attempt
  where not exists (select from wxyc_schema.library where library.id = attempt.library_id);

  delete from identity_sync.brake_memory
  using identity_sync.settlement
  where settlement.settlement_id = brake_memory.settlement_id and settlement.settled_at < keep_after;

  delete from identity_sync.quarantined_verdict
  where quarantined_verdict.closed_at < keep_after;

  delete from identity_sync.asked_as
  where not exists (select from wxyc_schema.library where library.id = asked_as.library_id);

  delete from identity_sync.worker
  where greatest(worker.asked_at, worker.seen_at) < keep_after;
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older, lifts the marks of libraries that are gone and closes their quarantine. Raises LS001 for a value out of range.';
--! EndIncluded functions/upkeep/prune_identity_sync.sql
--! Included functions/observe/assert_program_fits.sql
-- Says in words what is wrong between a program, its database and its login before any work begins, and names the cure.
-- It runs with its caller's rights, since these are what it looks at.
create or replace function identity_sync.assert_program_fits(known text[], calls text[] default '{}')
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  newer text;
  lacking integer;
  lost text;
  denied record;
begin
  select string_agg(filename, ', ' order by filename) into newer
  from graphile_migrate.migrations
  where hash <> all (known);
  if newer is not null then
    raise exception using
      errcode = 'LS005',
      message = format('the database %I is newer than this program: it has %s', current_database(), newer),
      hint = 'Deploy the version of identity-sync that made these migrations, or a newer one.';
  end if;

  select count(*) into lacking
  from unnest(known) as brought (hash)
  where not exists (select from graphile_migrate.migrations as seen where seen.hash = brought.hash);
  if lacking > 0 then
    raise exception using
      errcode = 'LS005',
      message = format(
        'the database %I is older than this program: it lacks %s of its migrations', current_database(), lacking
      ),
      hint = 'Run identity-sync migrate as its owner, then sql/roles.sql.';
  end if;

  lost := array_to_string(identity_sync.lost_columns(), ', ');
  if lost <> '' then
    raise exception using
      errcode = 'LS005',
      message = format('the station''s tables in the database %I lack %s', current_database(), lost),
      hint = 'Add what is gone: identity-sync migrate names each column with its type.';
  end if;

  select pg_proc.proname as name, granted.roles, granted.variable into denied
  from pg_proc
  cross join lateral (
    select
      string_agg(rolname, ' or ' order by rolname) as roles,
      min(substring(rolname from '^identity_(reader|operator|worker)')) as variable
    from aclexplode(pg_proc.proacl) as acl
    join pg_roles on pg_roles.oid = acl.grantee
    where acl.grantee <> pg_proc.proowner
  ) as granted
  where pg_proc.pronamespace = 'identity_sync'::regnamespace
    and pg_proc.proname = any (calls)
    and not has_function_privilege(pg_proc.oid, 'EXECUTE')
  order by pg_proc.proname
  limit 1;
  if found then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
        'permission denied for %s: %I is no member of %s',
        denied.name, current_user, coalesce(denied.roles, 'any role that may call it')
      ),
      hint = format(
        'Use a login that is (README, "Which login"), or make this one a member: '
          'psql "$DBA_URL" -v %s=%I -f sql/roles.sql.',
        coalesce(denied.variable, 'worker'), current_user
      );
  end if;
end;
$$;

revoke all on function identity_sync.assert_program_fits(text[], text[]) from public;

comment on function identity_sync.assert_program_fits(text[], text[]) is
  'Takes the hashes of the migrations that a program brings and the functions that it calls; raises LS005 where the database is newer or older or lacks columns, and 42501 where this login may not call one of them.';
--! EndIncluded functions/observe/assert_program_fits.sql
--! Included functions/observe/describe_ended_run.sql
-- A run that is over, in the few numbers that a person asks for first: what it changed, and what it could not. What
-- got no answer is no refusal: it is left.
create or replace function identity_sync_private.describe_ended_run(run identity_sync.run)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'outcome', run.outcome,
    'outcome_reason', run.outcome_reason,
    'stop_cause', run.stop_cause,
    'started_at', run.started_at,
    'finished_at', run.finished_at,
    'took_seconds', round(extract(epoch from run.finished_at - run.started_at), 1),
    'planned', run.planned,
    'scanned', coalesce((run.report ->> 'scanned')::bigint, 0),
    'new', coalesce((run.report #>> '{identity,inserted}')::bigint, 0),
    'changed', coalesce((run.report #>> '{identity,changed}')::bigint, 0),
    'confirmed', coalesce((run.report #>> '{identity,unchanged}')::bigint, 0),
    'compilations', coalesce(
      (run.report ->> 'rows_resolved_compilation')::bigint + (run.report #>> '{rows_skipped,compilation}')::bigint, 0
    ),
    'unresolved', coalesce((run.report ->> 'rows_unresolved')::bigint, 0),
    'refused', identity_sync_private.refused_rows(run.report #- '{rows_skipped,lml_error}'),
    'left', coalesce((run.report ->> 'left')::bigint, 0)
  );
$$;

revoke all on function identity_sync_private.describe_ended_run(identity_sync.run) from public;

comment on function identity_sync_private.describe_ended_run(identity_sync.run) is
  'Takes a run that is over; returns its outcome and times, and of its report the rows new, changed, confirmed, compilations, unresolved, refused and left.';
--! EndIncluded functions/observe/describe_ended_run.sql
--! Included functions/observe/is_alive.sql
-- A process that carries runs is heard of every ten seconds at least, also while its calls to LML are under way. One
-- that has missed that twice is taken for dead. One that plans nothing carries runs alone, and is gone once all are
-- over.
create or replace function identity_sync_private.is_alive(worker identity_sync.worker)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '20 seconds'
    and (worker.plan_cron is not null or exists (select from identity_sync.run where run.finished_at is null));
$$;

revoke all on function identity_sync_private.is_alive(identity_sync.worker) from public;

comment on function identity_sync_private.is_alive(identity_sync.worker) is
  'Takes a worker; returns whether it was heard of within the last twenty seconds, and plans runs or may carry one.';
--! EndIncluded functions/observe/is_alive.sql
--! Included functions/observe/describe_open_run.sql
-- How far an open run is, how fast it has been within the last minute, and what it waits for. Rows of failed batches
-- are not done: they are due again.
create or replace function identity_sync_private.describe_open_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'started_at', run.started_at,
    'deadline_at', run.deadline_at,
    'stop_cause', run.stop_cause,
    'stop_reason', run.stop_reason,
    'planned', run.planned,
    'done', progress.done,
    'failed', progress.failed,
    'batches_left', progress.batches_left,
    'calls_in_flight', progress.calls_in_flight,
    'rows_per_second', round(pace.rows_per_second, 1),
    'seconds_left', ceil((run.planned - progress.done - progress.failed) / nullif(pace.rows_per_second, 0)),
    'waits', identity_sync_private.waits_of_run(run.run_id)
  )
  from identity_sync.run
  cross join lateral (
    select
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed'), 0) as done,
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.state = 'failed'), 0) as failed,
      count(*) filter (where batch.closed_at is null) as batches_left,
      count(*) filter (where batch.state = 'in_flight' and batch.leased_until >= clock_timestamp()) as calls_in_flight,
      sum(cardinality(batch.library_ids)) filter (
        where batch.is_done and batch.state <> 'failed' and batch.closed_at > clock_timestamp() - interval '1 minute'
      ) as done_lately
    from identity_sync.batch
    where batch.run_id = run.run_id
  ) as progress
  cross join lateral (
    select
      progress.done_lately
        / greatest(least(extract(epoch from clock_timestamp() - run.started_at), 60), 1) as rows_per_second
  ) as pace
  where run.run_id = describe_open_run.run_id;
$$;

revoke all on function identity_sync_private.describe_open_run(bigint) from public;

comment on function identity_sync_private.describe_open_run(bigint) is
  'Takes an open run; returns its settings, rows planned, done and failed, rate of the last minute, seconds left, calls in flight and waits.';
--! EndIncluded functions/observe/describe_open_run.sql
--! Included functions/observe/identity_check.sql
-- Looks at all that a run needs of its database and its login, and names each fault with its cure, before a night finds
-- it. It runs with its caller's rights, since these are what it looks at, and changes nothing.
create or replace function identity_sync.identity_check(
  known text[], asked_at timestamptz default clock_timestamp(), sslmode text default null
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with fact as (
    select
      callable.*,
      (select pg_has_role(nspowner, 'USAGE') from pg_namespace where nspname = 'identity_sync') as is_owner,
      array_to_string(identity_sync.lost_columns(), ', ') as lost,
      identity_sync.missing_migrations(known) as lacking,
      (select string_agg(filename, ', ' order by filename) from graphile_migrate.migrations where hash <> all (known))
        as newer,
      round(1000 * extract(epoch from clock_timestamp() - asked_at)) as ahead_ms,
      (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as is_encrypted,
      coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,
      identity_sync_private.closed_queue() as closed,
      (
        select string_agg(format('%s = %s', name, current_setting(name)), ', ' order by name)
        from pg_settings
        where name = 'default_transaction_isolation' and setting <> 'read committed'
          or name = 'idle_session_timeout' and setting <> '0'
          or name = 'statement_timeout' and setting::bigint between 1 and 59999
      ) as unsuitable
    from (
      select
        bool_or(proname ~ '^plan_' and has_function_privilege(oid, 'EXECUTE')) as is_worker,
        bool_or(proname ~ '^replay_' and has_function_privilege(oid, 'EXECUTE')) as is_operator
      from pg_proc
      where pronamespace = 'identity_sync'::regnamespace
    ) as callable
  ),
  seen as (
    select
      1 as place, 'database' as name,
      case
        when pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean
          or current_setting('server_version_num')::integer < 140000 or current_setting('server_encoding') <> 'UTF8'
        then 'fail'
        else 'ok'
      end as status,
      format(
        'PostgreSQL %s, %s, time zone %s%s', current_setting('server_version'), current_setting('server_encoding'),
        current_setting('TimeZone'),
        case
          when pg_is_in_recovery() then '; a standby, which takes no write'
          when current_setting('default_transaction_read_only')::boolean then '; transactions are read only by default'
          else ''
        end
      ) as message,
      'A primary in UTF8 of PostgreSQL 14 or newer, and default_transaction_read_only = off.' as cure
    from fact
    union all
    select
      2, 'TLS',
      case when is_local or is_encrypted and sslmode like 'verify-%' then 'ok' else 'warn' end,
      case
        when is_encrypted then format(
          'encrypted, sslmode %s%s', coalesce(sslmode, 'not known'),
          case when sslmode like 'verify-%' then '' else ': it proves nothing about the server' end
        )
        when is_local then 'none, and none needed on one machine'
        else 'none: all that is read and written crosses the network in the open'
      end,
      'DATABASE_URL with sslmode=verify-full and sslrootcert (README, "The way to the database").'
    from fact
    union all
    select
      3, 'clock', case when abs(ahead_ms) < 30000 then 'ok' else 'warn' end,
      case
        when abs(ahead_ms) < 1000 then 'as ours, within a second'
        when ahead_ms > 0 then format('%s s ahead of ours', round(ahead_ms / 1000))
        else format('%s s behind ours', round(-ahead_ms / 1000))
      end,
      'Have both machines take their time from NTP: log and tables disagree until then.'
    from fact
    union all
    select
      4, 'login', case when is_worker then 'ok' else 'fail' end,
      format(
        '%I may %s', current_user,
        case when is_worker then 'run and work' else 'not run: it is no worker' end
          || case when is_operator then ', repair' else '' end || case when is_owner then ', migrate' else '' end
      ),
      format(
        'A worker''s login (README, "Which login"): psql "$DBA_URL" -v worker=%I -f sql/roles.sql', current_user
      )
    from fact
    union all
    select
      5, 'session', case when unsuitable is null then 'ok' else 'warn' end,
      coalesce(unsuitable, 'isolation and timeouts suit a run'),
      format('psql "$DBA_URL" -v worker=%I -f sql/roles.sql sets them for this login.', current_user)
    from fact
    union all
    select
      6, 'schema', case when newer is null and lacking = 0 then 'ok' else 'fail' end,
      case
        when newer is not null then 'newer than this program: it has ' || newer
        when lacking > 0 then format('older than this program: it lacks %s of its migrations', lacking)
        else 'as this program'
      end,
      case
        when newer is not null then 'Deploy the version of identity-sync that made these migrations, or a newer one.'
        else 'identity-sync migrate as its owner, then sql/roles.sql.'
      end
    from fact
    union all
    select
      7, 'columns', case when lost = '' then 'ok' else 'fail' end,
      case when lost = '' then 'all there' else 'wxyc_schema lacks ' || lost end,
      'Add what is gone: identity-sync migrate names each column with its type.'
    from fact
    union all
    select
      8, 'queue',
      case when to_regnamespace('graphile_worker') is null or closed is not null then 'fail' else 'ok' end,
      case
        when to_regnamespace('graphile_worker') is null then 'graphile-worker''s schema is not there'
        else coalesce('closed to this login: ' || closed, 'open to this login')
      end,
      format('identity-sync migrate, then psql "$DBA_URL" -v worker=%I -f sql/roles.sql', current_user)
    from fact
    union all
    select
      9, 'planning', 'warn',
      format(
        'on hold since %s UTC (%s): %s',
        to_char(hold.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), hold.name, hold.reason
      ),
      format('identity-sync resume %s, when what is behind it is cured.', hold.name)
    from identity_sync_private.holds_in_force() as hold
  )
  select jsonb_agg(
    jsonb_build_object(
      'check', seen.name, 'status', seen.status, 'message', seen.message,
      'cure', case when seen.status <> 'ok' then seen.cure end
    )
    order by seen.place, seen.message
  )
  from seen;
$$;

revoke all on function identity_sync.identity_check(text[], timestamptz, text) from public;

comment on function identity_sync.identity_check(text[], timestamptz, text) is
  'Takes the hashes of the migrations that a program brings, its time and its sslmode; returns what a run needs of database and login, each as check, status (ok, warn, or fail where a run would fail), message and cure.';
--! EndIncluded functions/observe/identity_check.sql
--! Included functions/observe/identity_health.sql
-- Judges the service by its work, as the tables show it: the last successful run is recent, and open runs move unless
-- they wait for a set time. Only real runs over the catalogue count; before the first success the clock starts with the
-- first run, or with the asking process. Open runs are judged together: one may wait while another has all the calls.
create or replace function identity_sync.identity_health(
  max_age interval default '26 hours',
  max_silence interval default '2 minutes',
  process_started_at timestamptz default clock_timestamp()
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_at constant timestamptz := clock_timestamp();
  tried record;
  unfinished record;
  age interval;
  silence interval;
begin
  perform identity_sync_private.check_argument(
    'max_age', max_age::text, max_age > interval '0', 'intervals longer than 0'
  );
  perform identity_sync_private.check_argument(
    'max_silence', max_silence::text, max_silence > interval '0', 'intervals longer than 0'
  );

  select min(run.started_at) as first_at, max(run.finished_at) filter (where run.outcome = 'completed') as succeeded_at
  into tried
  from identity_sync.run
  where not run.dry_run and run.scope in ('due', 'refresh', 'recheck');

  select
    count(*) as runs,
    greatest(max(run.started_at), max(moved.closed_at), max(moved.called_at), min(moved.claimable_at)) as moved_at
  into unfinished
  from identity_sync.run
  cross join lateral (
    select
      max(batch.closed_at) as closed_at,
      max(greatest(call.started_at, call.answered_at)) as called_at,
      -- When the first open batch may be claimed: at once, after a pause, or when the lease of a dead process ends.
      min(coalesce(greatest(batch.not_before, batch.leased_until, run.paused_until), '-infinity'))
        filter (where batch.closed_at is null) as claimable_at
    from identity_sync.batch
    left join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = run.run_id
  ) as moved
  where run.finished_at is null;

  age := asked_at - coalesce(tried.succeeded_at, tried.first_at, process_started_at);
  silence := greatest(asked_at - unfinished.moved_at, interval '0');

  return jsonb_build_object(
    'last_success', jsonb_build_object(
      'ok', age <= max_age,
      'finished_at', tried.succeeded_at,
      'age_seconds', floor(extract(epoch from age)),
      'limit_seconds', floor(extract(epoch from max_age))
    ),
    'lanes', jsonb_build_object(
      'ok', unfinished.runs = 0 or silence <= max_silence,
      'open_runs', unfinished.runs,
      'silent_seconds', case when unfinished.runs > 0 then floor(extract(epoch from silence)) end,
      'limit_seconds', floor(extract(epoch from max_silence))
    ),
    'planning_holds', (
      select coalesce(jsonb_agg(hold.name order by hold.name), '[]') from identity_sync_private.holds_in_force() as hold
    )
  );
end;
$$;

revoke all on function identity_sync.identity_health(interval, interval, timestamptz) from public;

comment on function identity_sync.identity_health(interval, interval, timestamptz) is
  'Takes the greatest age of the last successful run, the longest silence of open runs, and when the asking process began; returns last_success and lanes, each with ok, its seconds and their limit, and the names of planning_holds. Raises LS001 for a limit of zero or less.';
--! EndIncluded functions/observe/identity_health.sql
--! Included functions/observe/identity_metrics.sql
-- What a dashboard counts. It is read from the tables, so that every process gives the same numbers.
-- Totals are the sum of all reports of real settlements, grouped by kind: rows (whose outcomes add up to scanned),
-- source_rows, identity, source and compilation_track.
create or replace function identity_sync.identity_metrics(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with settled as (
    -- A finished run keeps its sum, so that old settlements are not added up again.
    select run.report from identity_sync.run where run.finished_at is not null and not run.dry_run
    union all
    select settlement.report
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    where not settlement.dry_run and run.finished_at is null
    union all
    -- Provides every key before the first settlement.
    select identity_sync_private.empty_report()
  ),
  total as (
    select entry.key, part.key as part, sum(coalesce(part.value, entry.value #>> '{}')::bigint) as total
    from settled
    cross join lateral jsonb_each(settled.report) as entry
    left join lateral jsonb_each_text(
      case jsonb_typeof(entry.value) when 'object' then entry.value end
    ) as part on true
    where entry.key <> 'scanned' and identity_sync_private.empty_report() ? entry.key
    group by entry.key, part.key
  ),
  by_kind as (
    select named.kind, jsonb_object_agg(coalesce(total.part, total.key), total.total) as totals
    from total
    cross join lateral (
      select
        case
          when total.key like E'source\\_rows\\_%' then 'source_rows'
          when total.key like E'rows\\_%' then 'rows'
          else total.key
        end as kind
    ) as named
    group by named.kind
  ),
  unfinished as (
    select batch.state, count(*) as batches, count(*) filter (where batch.leased_until >= clock_timestamp()) as leased
    from identity_sync.batch
    where batch.closed_at is null
    group by batch.state
  )
  select jsonb_build_object(
    'totals', (select jsonb_object_agg(by_kind.kind, by_kind.totals) from by_kind),
    'due_rows', (
      select
        jsonb_build_object(
          'va', count(*) filter (where due.cohort = 'va'), 'non_va', count(*) filter (where due.cohort = 'non_va')
        )
      from identity_sync.identity_candidates(
        stale_days => identity_metrics.stale_days,
        unresolved_retry_days => identity_metrics.unresolved_retry_days,
        include_null_canonical => identity_metrics.include_null_canonical
      ) as due
    ),
    'open_batches', (
      select jsonb_build_object('open', 0, 'in_flight', 0, 'answered', 0)
        || coalesce(jsonb_object_agg(unfinished.state, unfinished.batches), '{}')
      from unfinished
    ),
    'calls_in_flight', coalesce((select unfinished.leased from unfinished where unfinished.state = 'in_flight'), 0),
    'quarantined', (
      select
        '{"invalid_verdict": 0, "writer_error": 0, "lml_untrusted_library_id": 0, "poison_input": 0}'::jsonb
        || coalesce(jsonb_object_agg(entry.outcome, entry.entries), '{}')
      from (
        select outcome, count(*) as entries
        from identity_sync.quarantined_verdict
        where closed_at is null
        group by outcome
      ) as entry
    ),
    'planning_holds', (
      select '{"paused": 0, "key_refused": 0, "brake": 0}'::jsonb || coalesce(jsonb_object_agg(hold.name, 1), '{}')
      from identity_sync_private.holds_in_force() as hold
    ),
    'runs', (
      select
        '{"completed": 0, "failed": 0, "stopped": 0}'::jsonb
        || coalesce(jsonb_object_agg(ended.outcome, ended.runs), '{}')
      from (
        select run.outcome, count(*) as runs
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run
        group by run.outcome
      ) as ended
    ),
    'last_run', (
      select jsonb_build_object(
        'outcome', run.outcome, 'duration_seconds', extract(epoch from run.finished_at - run.started_at)
      )
      from identity_sync.run
      where run.finished_at is not null and not run.dry_run and run.scope <> 'ids'
      order by run.run_id desc
      limit 1
    ),
    'last_success_age_seconds', (
      select extract(epoch from clock_timestamp() - max(run.finished_at))
      from identity_sync.run
      where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
    )
  );
$$;

revoke all on function identity_sync.identity_metrics(integer, integer, boolean) from public;

comment on function identity_sync.identity_metrics(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns totals by kind and report key, and counts of due rows, open batches, calls in flight, quarantine, planning holds and runs, how the last run ended, and the seconds since the last success. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_metrics.sql
--! Included functions/observe/planning_holds.sql
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
  ) as cure;
$$;

revoke all on function identity_sync_private.planning_holds() from public;

comment on function identity_sync_private.planning_holds() is
  'Returns the planning holds in force, the latest first, each with its reason, run, time and cures (purpose and command).';
--! EndIncluded functions/observe/planning_holds.sql
--! Included functions/observe/identity_status.sql
-- How things stand, for the screen, the page and scripts: one document, so that all of them say the same. Every key is
-- always there, times carry their zone, and nothing in it is a secret.
create or replace function identity_sync.identity_status(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'at', clock_timestamp(),
    'planning', jsonb_build_object(
      'holds', identity_sync_private.planning_holds(),
      'crons', (
        select coalesce(jsonb_agg(distinct worker.plan_cron), '[]')
        from identity_sync.worker
        where identity_sync_private.is_alive(worker)
          and worker.plan_cron is not null
      ),
      'last_success_at', (
        select max(run.finished_at)
        from identity_sync.run
        where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
      )
    ),
    'open_runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_open_run(run.run_id) order by run.run_id desc), '[]')
      from identity_sync.run
      where run.finished_at is null
    ),
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id desc), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null
        order by run.run_id desc
        limit 10
      ) as latest
    ),
    'workers', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'name', worker.name,
              'version', worker.version,
              'plan_cron', worker.plan_cron,
              'concurrency', worker.concurrency,
              'is_alive', identity_sync_private.is_alive(worker),
              'seen_at', greatest(worker.asked_at, worker.seen_at),
              'calls_in_flight', identity_sync_private.calls_in_flight(worker.name)
            )
            order by greatest(worker.asked_at, worker.seen_at) desc
          ),
          '[]'
        )
      from identity_sync.worker
      where greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '1 day'
    ),
    'lml', identity_sync_private.lml_calls_of_late(),
    'catalogue', identity_sync_private.count_catalogue(stale_days, unresolved_retry_days, include_null_canonical),
    'quarantine', (
      select
        jsonb_build_object(
          'entries', coalesce(sum(refused.entries), 0),
          'by_reason', coalesce(
            jsonb_agg(to_jsonb(refused) order by refused.entries desc, refused.latest_at desc), '[]'
          )
        )
      from (
        select
          entry.outcome,
          entry.path as field,
          entry.sqlstate,
          -- The words name the value at fault, so that of many one stands for all.
          max(coalesce(entry.message, entry.reason)) as reason,
          count(*) as entries,
          min(entry.quarantined_at) as oldest_at,
          max(entry.quarantined_at) as latest_at
        from identity_sync.quarantine as entry
        group by entry.outcome, entry.path, entry.sqlstate
      ) as refused
    ),
    'coverage', identity_sync_private.sum_coverage(),
    'gate', (select to_jsonb(gate) from identity_sync.gate)
  );
$$;

revoke all on function identity_sync.identity_status(integer, integer, boolean) from public;

comment on function identity_sync.identity_status(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns planning with its holds, open_runs, the last ten runs, workers, lml, catalogue, quarantine, coverage and gate. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_status.sql
--! Included functions/observe/take_identity_alerts.sql
-- Hands each alert to the first process that asks, so that a webhook hears of a run or a hold once, however many
-- processes carry the work. Only a process that can send asks; a run that ended a day ago is no news.
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
    returning run.*
  ),
  held as (
    update identity_sync.planning_hold as hold
    set alerted_at = clock_timestamp()
    where hold.alerted_at is null and hold.name in (select name from identity_sync_private.holds_in_force())
    returning hold.*
  )
  select
    jsonb_build_object(
      'alert', 'run_ended_badly',
      'text', concat_ws(
        ': ', format('library-identity-sync: run %s %s', ended.run_id, ended.outcome), ended.outcome_reason
      ),
      'at', ended.finished_at,
      'run', identity_sync_private.describe_ended_run(ended)
    )
  from ended
  union all
  select
    jsonb_build_object(
      'alert', 'hold_began',
      'text', format('library-identity-sync: planning is on hold (%s): %s', held.name, held.reason),
      'at', held.since,
      'hold', to_jsonb(held) - 'alerted_at'
    )
  from held;
$$;

revoke all on function identity_sync.take_identity_alerts() from public;

comment on function identity_sync.take_identity_alerts() is
  'Returns an alert for each run that ended badly within a day and each hold that began, which no process has taken yet, and marks them as taken: alert (run_ended_badly, hold_began), text, at, and run or hold.';
--! EndIncluded functions/observe/take_identity_alerts.sql
