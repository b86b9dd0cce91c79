--! Previous: sha1:1d06b8e2367b70ed89de4b1ef984db70246e74dd
--! Hash: sha1:825317306e9bf1185382bf7d3fd1ef5390a2d6f7
--! Message: Workers that live, and alerts

-- The next migration begins here.

-- Who lives, and when it plans.
alter table identity_sync.worker
  add column version text,
  add column plan_cron text,
  add column seen_at timestamptz;

comment on column identity_sync.worker.version is 'Of the program that it runs.';
comment on column identity_sync.worker.plan_cron is 'The crontab time in UTC at which it plans; NULL: it plans nothing.';
comment on column identity_sync.worker.seen_at is
  'When it last said that it lives, which a worker does every five seconds and a run in the foreground every ten.';

drop function identity_sync.rescue_identity_runs(integer);

-- Which runs and holds an alert was sent of.
alter table identity_sync.run add column alerted_at timestamptz;
alter table identity_sync.planning_hold add column alerted_at timestamptz;

comment on column identity_sync.run.alerted_at is 'When a process took the end of the run to send an alert of it.';
comment on column identity_sync.planning_hold.alerted_at is 'When a process took the hold to send an alert of it.';

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

  -- What nobody can replay or answer any more.
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
--! Included functions/upkeep/rescue_identity_runs.sql
-- Keeps the open runs going when processes have died: frees leases that ran out, stops runs past their deadline, ends
-- those that have nothing unfinished, and enqueues lanes for the rest, which a worker that has just joined takes up.
-- Calling it often does no harm, and tells that the calling worker lives.
create or replace function identity_sync.rescue_identity_runs(
  lanes integer,
  worker text default null,
  version text default null,
  plan_cron text default null
)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  open identity_sync.run;
  still_open integer := 0;
begin
  if worker is not null then
    insert into identity_sync.worker as known (name, turns, concurrency, version, plan_cron, seen_at)
    values (
      rescue_identity_runs.worker, 0, lanes, rescue_identity_runs.version, rescue_identity_runs.plan_cron,
      clock_timestamp()
    )
    on conflict (name) do update
    set version = excluded.version, plan_cron = excluded.plan_cron, seen_at = excluded.seen_at;
  end if;

  -- Wait for claims, so that no lease is freed while a claim renews it.
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

  perform identity_sync_private.reopen_orphaned_batches();

  for open in
    select run.* from identity_sync.run where run.finished_at is null order by run.run_id for no key update skip locked
  loop
    if open.deadline_at < clock_timestamp() then
      perform identity_sync.stop_identity_run(
        open.run_id, 'its deadline has passed, what is left is due next time', cause => 'deadline'
      );
    elsif open.stop_reason is not null then
      -- Abandon what was in flight when the run stopped and whose process has died since.
      perform identity_sync.stop_identity_run(open.run_id, open.stop_reason, cause => open.stop_cause);
      perform identity_sync.enqueue_lanes(open.run_id, lanes);
    else
      perform identity_sync_private.close_identity_run(open.run_id);
      perform identity_sync.enqueue_lanes(open.run_id, lanes, open.paused_until);
    end if;
    still_open := still_open + 1;
  end loop;

  return still_open;
end;
$$;

revoke all on function identity_sync.rescue_identity_runs(integer, text, text, text) from public;

comment on function identity_sync.rescue_identity_runs(integer, text, text, text) is
  'Takes the lanes to enqueue for each open run, and of the calling worker its name (NULL: none), version and crontab time of planning (NULL: it plans nothing); returns how many runs were open.';
--! EndIncluded functions/upkeep/rescue_identity_runs.sql
--! Included functions/observe/artists_changed.sql
-- The main rows that name another artist than before, the latest first: what a person looks at to tell a better answer
-- from a wrong one. An id that came, went or only gained confidence is no such change.
create or replace function identity_sync_private.artists_changed(looked_at integer, shown integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recent as (
    -- They hold each later row of the same library too; the last one became what is there now.
    select
      history.history_id, history.library_id, history.superseded_at as at, history.reason_category,
      to_jsonb(history) as was
    from wxyc_schema.library_identity_history as history
    order by history.history_id desc
    limit artists_changed.looked_at
  ),
  step as (
    select
      recent.*,
      coalesce(
        lead(recent.was) over (partition by recent.library_id order by recent.history_id),
        (
          select to_jsonb(known)
          from wxyc_schema.library_identity as known
          where known.library_id = recent.library_id
        )
      ) as became
    from recent
  ),
  changed as (
    select step.*, ids.changes
    from step
    cross join lateral (
      select
        jsonb_agg(
          jsonb_build_object(
            'column', named.name, 'old', step.was ->> named.name, 'new', step.became ->> named.name
          )
          order by named.place
        ) filter (where (step.was ->> named.name) is distinct from (step.became ->> named.name)) as changes,
        bool_or((step.was ->> named.name) <> (step.became ->> named.name)) as names_another
      from unnest(
        array[
          'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id'
        ]
      ) with ordinality as named (name, place)
    ) as ids
    where ids.names_another and step.reason_category is distinct from 'release'
    order by step.history_id desc
    limit artists_changed.shown
  ),
  writer as (
    select history_id, latest.run_id
    from (
      select settlement.run_id, settlement.history_ids
      from identity_sync.settlement
      where settlement.history_ids <> '{}'
      order by settlement.settlement_id desc
      limit artists_changed.looked_at
    ) as latest
    cross join lateral unnest(latest.history_ids) as history_id
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'library_id', changed.library_id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'at', changed.at,
          'why', changed.reason_category,
          'run_id', writer.run_id,
          'changes', changed.changes
        )
        order by changed.history_id desc
      ),
      '[]'
    )
  from changed
  left join writer on writer.history_id = changed.history_id
  left join wxyc_schema.library on library.id = changed.library_id;
$$;

revoke all on function identity_sync_private.artists_changed(integer, integer) from public;

comment on function identity_sync_private.artists_changed(integer, integer) is
  'Takes how many rows of the history to look at and how many changes to return; returns the latest main rows that name another artist, each with library, time, category, run and its ids old beside new.';
--! EndIncluded functions/observe/artists_changed.sql
--! Included functions/observe/calls_in_flight.sql
-- Calls under way, of one worker or of all: a batch whose lease has ended is in no process's hands any more.
create or replace function identity_sync_private.calls_in_flight(worker text default null)
returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)
  from identity_sync.batch
  where batch.closed_at is null
    and batch.state = 'in_flight'
    and batch.leased_until >= clock_timestamp()
    -- A lane is named "host:pid:job", and its worker "host:pid".
    and (calls_in_flight.worker is null or regexp_replace(batch.leased_by, ':[^:]*$', '') = calls_in_flight.worker);
$$;

revoke all on function identity_sync_private.calls_in_flight(text) from public;

comment on function identity_sync_private.calls_in_flight(text) is
  'Takes a worker, or NULL for all; returns how many of its calls to LML are under way.';
--! EndIncluded functions/observe/calls_in_flight.sql
--! Included functions/observe/changes_of.sql
-- What the writer changed of a library, an event a settlement: its main row from library_identity_history, its source
-- rows from superseded_source. What a row became is what it was before the next change, or is now.
create or replace function identity_sync_private.changes_of(library_id integer)
returns table (at timestamptz, kind text, settlement_id bigint, words text, changes jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with main as (
    select
      history.history_id,
      history.superseded_at as at,
      history.superseded_reason as words,
      history.reason_category as category,
      to_jsonb(history) as stored
    from wxyc_schema.library_identity_history as history
    where history.library_id = changes_of.library_id
    union all
    select null, null, null, null, to_jsonb(known)
    from wxyc_schema.library_identity as known
    where known.library_id = changes_of.library_id
  ),
  main_step as (
    select
      main.*,
      case
        when main.category is distinct from 'release'
        then lead(main.stored) over (order by main.history_id nulls last)
      end as became
    from main
  ),
  source_step as (
    select
      old.settlement_id,
      old.superseded_at as at,
      old.superseded_reason as words,
      old.source,
      to_jsonb(old) as stored,
      case
        when old.action <> 'removed' then coalesce(
          lead(to_jsonb(old)) over (partition by old.source order by old.superseded_id),
          (
            select to_jsonb(known)
            from wxyc_schema.library_identity_source as known
            where known.library_id = changes_of.library_id and known.source = old.source
          )
        )
      end as became
    from identity_sync.superseded_source as old
    where old.library_id = changes_of.library_id
  ),
  step as (
    select
      (
        select settlement.settlement_id
        from identity_sync.settlement
        where settlement.settled_at between main_step.at - interval '1 minute' and main_step.at + interval '1 day'
          and main_step.history_id = any (settlement.history_ids)
        limit 1
      ) as settlement_id,
      main_step.at, main_step.words, 'identity' as stored_row, main_step.stored, main_step.became,
      array[
        'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
        'method', 'confidence', 'notes'
      ] as columns
    from main_step
    where main_step.history_id is not null
    union all
    select
      source_step.settlement_id, source_step.at, source_step.words, source_step.source, source_step.stored,
      source_step.became, array['external_id', 'method', 'confidence']
    from source_step
  )
  select
    max(step.at),
    'changed',
    step.settlement_id,
    max(step.words),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'row', step.stored_row, 'column', named.name,
          'old', step.stored -> named.name, 'new', coalesce(step.became -> named.name, 'null')
        )
        order by step.stored_row <> 'identity', step.stored_row, named.place
      ) filter (where (step.stored ->> named.name) is distinct from (step.became ->> named.name)),
      '[]'
    )
  from step
  cross join lateral unnest(step.columns) with ordinality as named (name, place)
  group by step.settlement_id, case when step.settlement_id is null then step.at end

  union all
  select settlement.settled_at, 'identified', settlement.settlement_id, 'first identity', '[]'
  from identity_sync.settlement
  where changes_of.library_id = any (settlement.inserted_ids) and not settlement.dry_run;
$$;

revoke all on function identity_sync_private.changes_of(integer) from public;

comment on function identity_sync_private.changes_of(integer) is
  'Takes a library; returns each settlement that changed its identity or its sources, with the time, why, and the columns old beside new; and the one that wrote its first identity.';
--! EndIncluded functions/observe/changes_of.sql
--! Included functions/observe/closed_queue.sql
-- Names what graphile-worker keeps jobs in and this login cannot work with: closed to it, or hidden from it by row
-- security without a policy for it.
create or replace function identity_sync_private.closed_queue()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(relname, ', ' order by relname)
  from pg_class
  where relnamespace = to_regnamespace('graphile_worker')
    and relkind = 'r'
    and (
      not has_schema_privilege(relnamespace, 'USAGE')
      or not (has_table_privilege(oid, 'SELECT') and has_table_privilege(oid, 'UPDATE'))
      or row_security_active(oid) and not exists (
        select
        from pg_policy
        where polrelid = pg_class.oid
          and exists (select from unnest(polroles) as role where role = 0 or pg_has_role(role, 'USAGE'))
      )
    );
$$;

revoke all on function identity_sync_private.closed_queue() from public;

comment on function identity_sync_private.closed_queue() is
  'Returns the tables of graphile-worker that this login cannot read and write, or NULL.';
--! EndIncluded functions/observe/closed_queue.sql
--! Included functions/observe/state_of_library.sql
-- Where a library stands, one state each, so that the states add up to the catalogue. What can never be asked comes
-- first, then what a run would ask now, then why it would not.
create or replace function identity_sync_private.state_of_library(
  has_name boolean,
  is_on_discogs boolean,
  is_due boolean,
  is_held boolean,
  is_wanted boolean,
  is_fresh boolean
)
returns text
language sql immutable parallel safe
return case
  when not has_name then 'no_name'
  when not is_on_discogs then 'not_on_discogs'
  when is_due then 'due'
  when is_held then 'held'
  when is_fresh then 'fresh'
  when is_wanted then 'waiting'
  else 'not_canonical'
end;

revoke all on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean)
from public;

comment on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean) is
  'Takes what is known of a library (it has an artist name, may be on Discogs, is due, is held by hand, is canonicalized or has an identity, has an identity that is not stale); returns no_name, not_on_discogs, due, held, fresh, waiting or not_canonical.';
--! EndIncluded functions/observe/state_of_library.sql
--! Included functions/observe/count_catalogue.sql
-- Where the catalogue stands: every library is counted in one state, so that the states add up to its rows. Those that
-- are due are counted by reason too.
create or replace function identity_sync_private.count_catalogue(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
-- The planner takes the few states for as many groups as there are rows, and would sort them all.
set enable_sort = off
as $$
declare
  stale_before timestamptz;
  retry_before timestamptz;
  counts jsonb;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  with due as (
    -- A row that was renamed may be due for another reason too, which says more.
    select named.library_id, coalesce(min(named.reason) filter (where named.reason <> 'renamed'), 'renamed') as reason
    from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as named
    group by named.library_id
  ),
  stood as (
    select
      identity_sync_private.state_of_library(
        identity_sync_private.has_name(library.artist_name),
        library.id not in (select identity_sync_private.libraries_not_on_discogs()),
        due.library_id is not null,
        coalesce(attempt.outcome = 'held', false)
          or identity.library_id is not null
            and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
        library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
        coalesce(identity.last_verified_at > stale_before, false)
      ) as state,
      due.reason,
      identity.library_id is not null as is_identified,
      not coalesce(
        identity_sync_private.is_plausible_time(identity.last_verified_at)
          and coalesce(identity_sync_private.is_plausible_time(attempt.attempted_at), true),
        identity_sync_private.is_plausible_time(attempt.attempted_at),
        true
      ) as is_of_unknown_age
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    left join identity_sync.attempt on attempt.library_id = library.id
    left join due on due.library_id = library.id
    -- A fence, so that the state of a row is found once.
    offset 0
  ),
  counted as (
    select
      stood.state,
      stood.reason,
      count(*) as libraries,
      count(*) filter (where stood.is_identified) as identified,
      count(*) filter (where stood.is_of_unknown_age) as unknown_age
    from stood
    group by 1, 2
  )
  select
    '{"due": 0, "fresh": 0, "waiting": 0, "held": 0, "not_canonical": 0, "not_on_discogs": 0, "no_name": 0}'::jsonb
    || coalesce(
      (
        select jsonb_object_agg(state.name, state.libraries)
        from (
          select counted.state as name, sum(counted.libraries) as libraries
          from counted
          group by counted.state
        ) as state
      ),
      '{}'
    )
    || jsonb_build_object(
      'rows', coalesce(sum(counted.libraries), 0),
      'identified', coalesce(sum(counted.identified), 0),
      'unknown_age', coalesce(sum(counted.unknown_age), 0),
      'due_by_reason',
      '{"never_asked": 0, "released": 0, "renamed": 0, "stale": 0, "in_vain": 0}'::jsonb
        || coalesce(
          jsonb_object_agg(counted.reason, counted.libraries) filter (where counted.state = 'due'), '{}'
        )
    )
  into counts
  from counted;
  return counts;
end;
$$;

revoke all on function identity_sync_private.count_catalogue(integer, integer, boolean) from public;

comment on function identity_sync_private.count_catalogue(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due; returns the rows of the catalogue by state, those due by reason, and how many are identified or of an age that is not known. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/count_catalogue.sql
--! Included functions/observe/describe_ended_run.sql
-- A run that is over, in the few numbers that a person asks for first: what it changed, and what it could not.
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
    'refused', identity_sync_private.refused_rows(run.report),
    'left', coalesce((run.report ->> 'left')::bigint, 0)
  );
$$;

revoke all on function identity_sync_private.describe_ended_run(identity_sync.run) from public;

comment on function identity_sync_private.describe_ended_run(identity_sync.run) is
  'Takes a run that is over; returns its outcome and times, and of its report the rows new, changed, confirmed, compilations, unresolved, refused and left.';
--! EndIncluded functions/observe/describe_ended_run.sql
--! Included functions/observe/is_alive.sql
-- A process that carries runs is heard of every ten seconds at least, also while its calls to LML are under way. One
-- that has missed that twice is taken for dead.
create or replace function identity_sync_private.is_alive(worker identity_sync.worker)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '20 seconds';
$$;

revoke all on function identity_sync_private.is_alive(identity_sync.worker) from public;

comment on function identity_sync_private.is_alive(identity_sync.worker) is
  'Takes a worker; returns whether it was heard of within the last twenty seconds.';
--! EndIncluded functions/observe/is_alive.sql
--! Included functions/observe/waits_of_run.sql
-- What an open run waits for, so that a person sees whether to do anything: most waits end by themselves, at the time
-- that is named.
create or replace function identity_sync_private.waits_of_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with unfinished as (
    select batch.*, regexp_replace(batch.leased_by, ':[^:]*$', '') as worker_name
    from identity_sync.batch
    where batch.run_id = waits_of_run.run_id and batch.closed_at is null
  ),
  last_failure as (
    select
      case
        when call.http_status is null then coalesce(call.failure, 'no answer')
        else format('LML answered %s', call.http_status)
      end as words
    from identity_sync.batch
    join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = waits_of_run.run_id and call.answered_at is not null and call.http_status is distinct from 200
    order by call.call_id desc
    limit 1
  ),
  wait as (
    select
      1 as place,
      'pause' as kind,
      run.paused_until as until,
      case
        when exists (
          select from unfinished where unfinished.deferrals > 0 and unfinished.not_before = run.paused_until
        )
        then 'LML asked for a pause (429)'
        else format('batch after batch failed, pause %s of 4', run.pauses)
          || coalesce((select ': ' || last_failure.words from last_failure), '')
      end as what
    from identity_sync.run
    where run.run_id = waits_of_run.run_id and run.paused_until > clock_timestamp()
    union all
    select
      2, 'lease', max(unfinished.leased_until),
      format(
        '%s in the hands of %s, which is silent', count(*), coalesce(unfinished.worker_name, 'a process')
      )
    from unfinished
    left join identity_sync.worker on worker.name = unfinished.worker_name
    where unfinished.leased_until >= clock_timestamp()
      and not coalesce(identity_sync_private.is_alive(worker), false)
    group by unfinished.worker_name
    union all
    select 3, 'kept_answer', null, format('answers kept until other sessions let go of their rows: %s', count(*))
    from unfinished
    where unfinished.answer is not null and unfinished.leased_by is null
    having count(*) > 0
    union all
    select
      4, 'batch', min(unfinished.not_before),
      format('batches to be tried again: %s', count(*))
        || coalesce((select '; ' || last_failure.words from last_failure), '')
    from unfinished
    join identity_sync.run on run.run_id = unfinished.run_id
    where unfinished.state = 'open'
      and unfinished.not_before > clock_timestamp()
      and not coalesce(run.paused_until > clock_timestamp(), false)
    having count(*) > 0
    union all
    select 5, 'worker', null, 'no worker is alive'
    where not exists (select from identity_sync.worker where identity_sync_private.is_alive(worker))
  )
  select
    coalesce(
      jsonb_agg(jsonb_build_object('kind', wait.kind, 'until', wait.until, 'what', wait.what) order by wait.place), '[]'
    )
  from wait;
$$;

revoke all on function identity_sync_private.waits_of_run(bigint) from public;

comment on function identity_sync_private.waits_of_run(bigint) is
  'Takes an open run; returns what it waits for (pause, lease, kept_answer, batch, worker), each with the time when that ends by itself and words.';
--! EndIncluded functions/observe/waits_of_run.sql
--! Included functions/observe/describe_open_run.sql
-- How far an open run is, how fast it has been within the last minute, and what it waits for.
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
    'batches_left', progress.batches_left,
    'calls_in_flight', progress.calls_in_flight,
    'rows_per_second', round(pace.rows_per_second, 1),
    'seconds_left', ceil((run.planned - progress.done) / nullif(pace.rows_per_second, 0)),
    'waits', identity_sync_private.waits_of_run(run.run_id)
  )
  from identity_sync.run
  cross join lateral (
    select
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.is_done), 0) as done,
      count(*) filter (where batch.closed_at is null) as batches_left,
      count(*) filter (where batch.state = 'in_flight' and batch.leased_until >= clock_timestamp()) as calls_in_flight,
      sum(cardinality(batch.library_ids))
        filter (where batch.is_done and batch.closed_at > clock_timestamp() - interval '1 minute') as done_lately
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
  'Takes an open run; returns its settings, rows planned and done, rate of the last minute, seconds left, calls in flight and waits.';
--! EndIncluded functions/observe/describe_open_run.sql
--! Included functions/observe/due_by_day.sql
-- How many rows become due on each of the coming days if nothing is asked before, so that a person sees a wave of calls
-- ahead. A row counts once, on the day on which due_libraries begins to list it.
create or replace function identity_sync_private.due_by_day(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean,
  days integer
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
as $$
  with coming as (
    select
      -- In the order in which a mark and an identity hold a row back: the later one counts.
      greatest(
        identity.last_verified_at + make_interval(days => stale_days),
        attempt.attempted_at + make_interval(
          days => case
            when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_days
            else unresolved_retry_days
          end
        )
      ) as due_at,
      attempt.library_id is not null as is_in_vain
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    left join identity_sync.attempt on attempt.library_id = library.id
    where (identity.library_id is not null or library.canonical_entity_id is not null or include_null_canonical)
      and coalesce(attempt.outcome not in ('released', 'held'), true)
      and identity_sync_private.has_name(library.artist_name)
      and library.id not in (select identity_sync_private.libraries_not_on_discogs())
  ),
  counted as (
    select
      (coming.due_at at time zone 'UTC')::date as day,
      count(*) filter (where not coming.is_in_vain) as stale,
      count(*) filter (where coming.is_in_vain) as in_vain
    from coming
    where coming.due_at > clock_timestamp()
      and coming.due_at < clock_timestamp() + make_interval(days => due_by_day.days)
    group by 1
  )
  select
    jsonb_agg(
      jsonb_build_object(
        'day', shown.day, 'stale', coalesce(counted.stale, 0), 'in_vain', coalesce(counted.in_vain, 0)
      )
      order by shown.day
    )
  from (
    select (clock_timestamp() at time zone 'UTC')::date + number as day
    from generate_series(0, due_by_day.days - 1) as number
  ) as shown
  left join counted on counted.day = shown.day;
$$;

revoke all on function identity_sync_private.due_by_day(integer, integer, boolean, integer) from public;

comment on function identity_sync_private.due_by_day(integer, integer, boolean, integer) is
  'Takes the parameters that decide which rows are due, and for how many days; returns for each day in UTC from today on the rows that become due then: stale, and in_vain whose window ends.';
--! EndIncluded functions/observe/due_by_day.sql
--! Included functions/observe/utc.sql
-- A time within a sentence, in UTC and saying so, since the reader's zone is not known.
create or replace function identity_sync_private.utc(at timestamptz)
returns text
language sql immutable parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"');

revoke all on function identity_sync_private.utc(timestamptz) from public;

comment on function identity_sync_private.utc(timestamptz) is
  'Takes a time; returns it to the minute in UTC, NULL for NULL.';
--! EndIncluded functions/observe/utc.sql
--! Included functions/observe/explain_due.sql
-- Why a library is due or is not, in one sentence that begins with the answer. It asks due_libraries, so that it says
-- what planning does.
create or replace function identity_sync_private.explain_due(
  library_id integer,
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  library wxyc_schema.library;
  identity wxyc_schema.library_identity;
  attempt identity_sync.attempt;
  stale_before timestamptz;
  retry_before timestamptz;
  reason text;
  state text;
  window_days integer;
  due_at timestamptz;
  sentence text;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  select * into library from wxyc_schema.library as asked where asked.id = explain_due.library_id;
  select * into identity from wxyc_schema.library_identity as known where known.library_id = explain_due.library_id;
  select * into attempt from identity_sync.attempt as known where known.library_id = explain_due.library_id;
  select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))
  into reason
  from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as due
  where due.library_id = explain_due.library_id;

  state := identity_sync_private.state_of_library(
    identity_sync_private.has_name(library.artist_name),
    library.id not in (select identity_sync_private.libraries_not_on_discogs()),
    reason is not null,
    coalesce(attempt.outcome = 'held', false)
      or identity.library_id is not null and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
    library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
    coalesce(identity.last_verified_at > stale_before, false)
  );
  window_days := case
    when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_days
    else unresolved_retry_days
  end;
  -- Of a row that both a mark and an identity keep from being due, the later end counts.
  due_at := case
    when state = 'due' then clock_timestamp()
    when state in ('fresh', 'waiting', 'held') and attempt.outcome is distinct from 'held' then greatest(
      identity.last_verified_at + make_interval(days => stale_days),
      attempt.attempted_at + make_interval(days => window_days)
    )
  end;
  sentence := case
    when state = 'no_name' then 'never asked: it has no artist name'
    when state = 'not_on_discogs' then 'not asked: a person has said that it is not on Discogs'
    when state = 'not_canonical' then 'not asked: it has no canonical entity and no identity'
    when reason = 'never_asked' then 'due now: it was never asked'
    when reason = 'released' then format('due now: released on %s', identity_sync_private.utc(attempt.released_at))
    when reason = 'renamed' then 'due now: its artist name or album title is another than LML was asked by'
    when reason = 'in_vain' then format(
      'due now: asked in vain (%s) on %s, which holds for %s days',
      attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    when reason = 'stale' then format(
      'due now: verified on %s, stale after %s days', identity_sync_private.utc(identity.last_verified_at), stale_days
    )
    when attempt.outcome = 'held' then 'held by hand: it is not asked until it is released'
    when state = 'held' then format(
      'held by hand: asked again on %s, but left as it is until it is released', identity_sync_private.utc(due_at)
    )
    when attempt.library_id is not null then format(
      'due on %s: asked in vain (%s) on %s, which holds for %s days',
      identity_sync_private.utc(due_at), attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    else format(
      'due on %s: verified on %s, stale after %s days',
      identity_sync_private.utc(due_at), identity_sync_private.utc(identity.last_verified_at), stale_days
    )
  end;
  return jsonb_build_object(
    'is_due', state = 'due', 'state', state, 'reason', reason, 'due_at', due_at, 'sentence', sentence
  );
end;
$$;

revoke all on function identity_sync_private.explain_due(integer, integer, integer, boolean) from public;

comment on function identity_sync_private.explain_due(integer, integer, integer, boolean) is
  'Takes a library and the parameters that decide whether it is due; returns is_due, its state, the reason, when it is due and a sentence. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/explain_due.sql
--! Included functions/observe/settlement_of.sql
-- Which call of the writer said what stands in a row: the one of the answer that the row was verified by. Answers have
-- times of their own to the microsecond, and where two share one, the batch tells.
create or replace function identity_sync_private.settlement_of(verified_at timestamptz, library_id integer)
returns identity_sync.settlement
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select settlement.*
  from identity_sync.settlement
  left join identity_sync.batch on batch.batch_id = settlement.batch_id
  where settlement.verified_at = settlement_of.verified_at
    and not settlement.dry_run
    and settlement.is_answer
  order by coalesce(settlement_of.library_id = any (batch.library_ids), false) desc, settlement.settlement_id desc
  limit 1;
$$;

revoke all on function identity_sync_private.settlement_of(timestamptz, integer) from public;

comment on function identity_sync_private.settlement_of(timestamptz, integer) is
  'Takes the time that a row was verified at, and its library; returns the settlement of that answer, NULL where it is not known.';
--! EndIncluded functions/observe/settlement_of.sql
--! Included functions/observe/timeline_of.sql
-- What has happened to a library, the newest first: one event a call of the writer that changed it, each column old
-- beside new; the batches it was asked in, as long as they are kept; refusals and how they were closed.
create or replace function identity_sync_private.timeline_of(library_id integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with event as (
    select
      change.at, change.kind, change.settlement_id, change.words, change.changes, null::bigint as run_id
    from identity_sync_private.changes_of(timeline_of.library_id) as change
    union all
    select
      coalesce(batch.answered_at, batch.closed_at), 'asked', null,
      format('batch %s: %s', batch.batch_id, coalesce(batch.failure, batch.state)), null, batch.run_id
    from identity_sync.batch
    where timeline_of.library_id = any (batch.library_ids) and batch.closed_at is not null
    union all
    select
      attempt.attempted_at, 'mark', attempt.settlement_id, attempt.outcome, null, null
    from identity_sync.attempt
    where attempt.library_id = timeline_of.library_id
    union all
    select
      entry.quarantined_at, 'quarantined', coalesce(entry.first_settlement_id, entry.settlement_id),
      format('%s: %s', entry.outcome, coalesce(entry.message, entry.reason)),
      jsonb_build_array(jsonb_build_object('row', 'verdict', 'column', entry.path, 'old', null, 'new', entry.value)),
      null
    from identity_sync.quarantined_verdict as entry
    where entry.library_id = timeline_of.library_id
    union all
    select entry.closed_at, 'quarantine_closed', null, entry.closed_reason, null, null
    from identity_sync.quarantined_verdict as entry
    where entry.library_id = timeline_of.library_id and entry.closed_at is not null
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'at', event.at,
          'kind', event.kind,
          'run_id', coalesce(event.run_id, settlement.run_id),
          'batch_id', settlement.batch_id,
          'origin', settlement.origin,
          'by', settlement.settled_by,
          'what', event.words,
          'changes', coalesce(event.changes, '[]')
        )
        order by event.at desc, event.settlement_id desc nulls last
      ),
      '[]'
    )
  from event
  left join identity_sync.settlement on settlement.settlement_id = event.settlement_id;
$$;

revoke all on function identity_sync_private.timeline_of(integer) from public;

comment on function identity_sync_private.timeline_of(integer) is
  'Takes a library; returns its events as an array, the newest first: identified, changed, asked, mark, quarantined and quarantine_closed, each with time, run, origin, words and changes (row, column, old, new).';
--! EndIncluded functions/observe/timeline_of.sql
--! Included functions/observe/explain_identity.sql
-- All that is known of one library: what is there now and which run said it, why it is due or not in one sentence, and
-- what has happened to it, the newest first.
create or replace function identity_sync.explain_identity(
  library_id integer,
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  explained jsonb;
begin
  select
    jsonb_build_object(
      'at', clock_timestamp(),
      'library_id', library.id,
      'artist_name', library.artist_name,
      'album_title', library.album_title,
      'artist_id', library.artist_id,
      'due', identity_sync_private.explain_due(library.id, stale_days, unresolved_retry_days, include_null_canonical),
      'identity', (
        select to_jsonb(known) - 'library_id' - 'distinct_unresolved_sources' || jsonb_build_object(
          'run_id', (identity_sync_private.settlement_of(known.last_verified_at, library.id)).run_id,
          'is_held', identity_sync_private.is_set_by_hand(known.method, known.notes)
        )
        from wxyc_schema.library_identity as known
        where known.library_id = library.id
      ),
      'sources', (
        select
          coalesce(
            jsonb_agg(
              to_jsonb(known) - 'library_id' || jsonb_build_object(
                'run_id', (identity_sync_private.settlement_of(known.last_verified_at, library.id)).run_id
              )
              order by known.confidence desc, known.source
            ),
            '[]'
          )
        from wxyc_schema.library_identity_source as known
        where known.library_id = library.id
      ),
      'mark', (
        select to_jsonb(attempt) - 'library_id' || jsonb_build_object('run_id', settlement.run_id)
        from identity_sync.attempt
        left join identity_sync.settlement on settlement.settlement_id = attempt.settlement_id
        where attempt.library_id = library.id
      ),
      'quarantine', (
        select to_jsonb(entry) - 'library_id'
        from identity_sync.quarantine as entry
        where entry.library_id = library.id
      ),
      'open_batches', (
        select
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'batch_id', batch.batch_id,
                'run_id', batch.run_id,
                'dry_run', run.dry_run,
                'state', batch.state,
                'tries', batch.tries,
                'not_before', batch.not_before,
                'leased_by', batch.leased_by,
                'leased_until', batch.leased_until
              )
              order by batch.batch_id desc
            ),
            '[]'
          )
        from identity_sync.batch
        join identity_sync.run on run.run_id = batch.run_id
        where batch.closed_at is null and library.id = any (batch.library_ids)
      ),
      'homonyms', (
        select
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'artist_id', other.id, 'artist_name', other.artist_name, 'libraries', shelved.libraries
              )
              order by other.id
            ),
            '[]'
          )
        from wxyc_schema.artists as this
        join wxyc_schema.artists as other
          on wxyc_schema.fold_artist_name(other.artist_name) = wxyc_schema.fold_artist_name(this.artist_name)
          and other.id <> this.id
        cross join lateral (
          select count(*) as libraries from wxyc_schema.library as theirs where theirs.artist_id = other.id
        ) as shelved
        where this.id = library.artist_id
      ),
      'timeline', identity_sync_private.timeline_of(library.id)
    )
  into explained
  from wxyc_schema.library
  where library.id = explain_identity.library_id;
  if explained is null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;
  return explained;
end;
$$;

revoke all on function identity_sync.explain_identity(integer, integer, integer, boolean) from public;

comment on function identity_sync.explain_identity(integer, integer, integer, boolean) is
  'Takes a library and the parameters that decide whether it is due (days; the defaults are those of identity_candidates); returns due with a sentence, identity, sources, mark, quarantine, open_batches, homonyms and the timeline. Raises LS001 for a value out of range, LS002 for an unknown library.';
--! EndIncluded functions/observe/explain_identity.sql
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
        'A worker''s login (README, "Which login"): psql "$DATABASE_URL" -v worker=%I -f sql/roles.sql', current_user
      )
    from fact
    union all
    select
      5, 'session', case when unsuitable is null then 'ok' else 'warn' end,
      coalesce(unsuitable, 'isolation and timeouts suit a run'),
      format('psql "$DATABASE_URL" -v worker=%I -f sql/roles.sql sets them for this login.', current_user)
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
      format('identity-sync migrate, then psql "$DATABASE_URL" -v worker=%I -f sql/roles.sql', current_user)
    from fact
    union all
    select
      9, 'planning', 'warn',
      format(
        'on hold since %s UTC (%s): %s',
        to_char(hold.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), hold.name, hold.reason
      ),
      format('identity-sync resume %s, when what is behind it is cured.', hold.name)
    from identity_sync.planning_hold as hold
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
      from identity_sync.planning_hold as hold
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
--! Included functions/observe/latest_refusals.sql
-- The latest refusals as a page shows them: the verdict as it came, in three pieces of which the second is the field at
-- fault. Cutting the text here keeps LML's answer out of the program's hands.
create or replace function identity_sync_private.latest_refusals(entries integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'quarantine_id', entry.quarantine_id,
          'library_id', entry.library_id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'run_id', entry.run_id,
          'outcome', entry.outcome,
          'field', coalesce(entry.path, entry.constraint_name),
          'sqlstate', entry.sqlstate,
          'reason', coalesce(entry.message, entry.reason),
          'quarantined_at', entry.quarantined_at,
          'before', right(cut.before, 2000),
          'at_fault', left(cut.at_fault, 500),
          'after', left(cut.after, 2000),
          'is_cut', length(cut.before) > 2000 or length(cut.at_fault) > 500 or length(cut.after) > 2000
        )
        order by entry.quarantine_id desc
      ),
      '[]'
    )
  from (
    select quarantine.*, stored.verdict as document
    from identity_sync.quarantine
    join identity_sync.quarantined_verdict as stored on stored.quarantine_id = quarantine.quarantine_id
    order by quarantine.quarantine_id desc
    limit latest_refusals.entries
  ) as entry
  left join wxyc_schema.library on library.id = entry.library_id
  cross join lateral (
    select
      string_to_array(translate(replace(entry.path, '[', '.'), ']', ''), '.') as path,
      -- A text that no verdict holds, put where the field stands and cut out again.
      gen_random_uuid()::text as mark
  ) as fault
  cross join lateral (
    select jsonb_pretty(jsonb_set(entry.document, fault.path, to_jsonb(fault.mark), false)) as text
  ) as marked
  cross join lateral (
    select
      case
        when marked.text is null then coalesce(jsonb_pretty(entry.document), entry.verdict)
        else split_part(marked.text, format('"%s"', fault.mark), 1)
      end as before,
      case
        when strpos(marked.text, fault.mark) > 0 then jsonb_pretty(entry.document #> fault.path)
      end as at_fault,
      split_part(marked.text, format('"%s"', fault.mark), 2) as after
  ) as cut;
$$;

revoke all on function identity_sync_private.latest_refusals(integer) from public;

comment on function identity_sync_private.latest_refusals(integer) is
  'Takes how many; returns the latest open entries of the quarantine with the verdict in the pieces before, at_fault (NULL where it holds no such field) and after, each cut to a few thousand characters.';
--! EndIncluded functions/observe/latest_refusals.sql
--! Included functions/observe/identity_page.sql
-- What the page draws beside identity_status: series over runs, days and the days to come, the latest refusals, and who
-- was taken for whom of late. Each list is bounded, so that the page is of one size at any age of the database.
create or replace function identity_sync.identity_page(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  return jsonb_build_object(
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run and run.planned > 0
        order by run.run_id desc
        limit 30
      ) as latest
    ),
    'calls_by_day', (
      select coalesce(jsonb_agg(to_jsonb(counted) order by counted.day), '[]')
      from (
        select
          (call.started_at at time zone 'UTC')::date as day,
          count(*) as calls,
          count(*) filter (where call.http_status is distinct from 200) as failures,
          round(percentile_cont(0.5) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p50_ms,
          round(percentile_cont(0.95) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p95_ms
        from identity_sync.lml_call as call
        where call.answered_at is not null and call.started_at > clock_timestamp() - interval '30 days'
        group by 1
      ) as counted
    ),
    'due_by_day', identity_sync_private.due_by_day(stale_days, unresolved_retry_days, include_null_canonical, 28),
    'refusals', identity_sync_private.latest_refusals(20),
    'changes', identity_sync_private.artists_changed(5000, 30)
  );
end;
$$;

revoke all on function identity_sync.identity_page(integer, integer, boolean) from public;

comment on function identity_sync.identity_page(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days); returns the last thirty runs, calls_by_day, due_by_day, and the latest refusals and changes of artist. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_page.sql
--! Included functions/observe/lml_calls_of_late.sql
-- Whether LML is there and how fast it is, by the last hundred calls of all processes.
create or replace function identity_sync_private.lml_calls_of_late()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recent as (
    select call.*, case when call.http_status = 200 then call.latency_ms end as answer_ms
    from identity_sync.lml_call as call
    where call.answered_at is not null
    order by call.call_id desc
    limit 100
  )
  select jsonb_build_object(
    'calls_in_flight', identity_sync_private.calls_in_flight(),
    'concurrency', (
      select max(worker.concurrency) from identity_sync.worker where identity_sync_private.is_alive(worker)
    ),
    'recent_calls', count(*),
    'recent_failures', count(*) filter (where recent.http_status is distinct from 200),
    'p50_ms', round(percentile_cont(0.5) within group (order by recent.answer_ms)),
    'p95_ms', round(percentile_cont(0.95) within group (order by recent.answer_ms)),
    'last_answer', (
      select jsonb_build_object(
        'at', last.answered_at, 'http_status', last.http_status, 'latency_ms', last.latency_ms, 'failure', last.failure
      )
      from recent as last
      order by last.call_id desc
      limit 1
    )
  )
  from recent;
$$;

revoke all on function identity_sync_private.lml_calls_of_late() from public;

comment on function identity_sync_private.lml_calls_of_late() is
  'Returns the calls in flight and allowed, and of the last hundred calls how many failed, the median and 95th percentile of those answered in milliseconds, and how the last one ended.';
--! EndIncluded functions/observe/lml_calls_of_late.sql
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
  from identity_sync.planning_hold as hold
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
  ) as cure
  where coalesce(hold.ends_at > clock_timestamp(), true);
$$;

revoke all on function identity_sync_private.planning_holds() from public;

comment on function identity_sync_private.planning_holds() is
  'Returns the planning holds in force, the latest first, each with its reason, run, time and cures (purpose and command).';
--! EndIncluded functions/observe/planning_holds.sql
--! Included functions/observe/sum_coverage.sql
-- The view coverage by source, with what share of the catalogue each source knows.
create or replace function identity_sync_private.sum_coverage()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with counted as materialized (
    select * from identity_sync.coverage
  ),
  by_method as (
    select counted.source, counted.method, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.method
  ),
  by_band as (
    select counted.source, counted.confidence_band, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.confidence_band
  ),
  by_source as (
    select by_method.source, sum(by_method.libraries) as libraries, jsonb_object_agg(method, libraries) as methods
    from by_method
    group by by_method.source
  )
  select
    coalesce(
      jsonb_object_agg(
        by_source.source,
        jsonb_build_object(
          'libraries', by_source.libraries,
          'share', round(by_source.libraries / nullif((select count(*) from wxyc_schema.library), 0), 4),
          'methods', by_source.methods,
          'bands', (
            select jsonb_object_agg(by_band.confidence_band, by_band.libraries)
            from by_band
            where by_band.source = by_source.source
          )
        )
      ),
      '{}'
    )
  from by_source;
$$;

revoke all on function identity_sync_private.sum_coverage() from public;

comment on function identity_sync_private.sum_coverage() is
  'Returns for each source, and for composed, the libraries that have it, their share of the catalogue, and how many by method and by band of confidence.';
--! EndIncluded functions/observe/sum_coverage.sql
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
        where run.outcome = 'completed' and not run.dry_run and run.scope <> 'ids'
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
    where hold.alerted_at is null
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
