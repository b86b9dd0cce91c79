--! Previous: sha1:1d970d2f6446524fd5d981fb41b86b584173d808
--! Hash: sha1:1d06b8e2367b70ed89de4b1ef984db70246e74dd
--! Message: Every write belongs to a run

-- The next migration begins here.

-- Every call of the writer belongs to a run, also one by hand.
alter table identity_sync.run
  drop constraint run_scope_check,
  add constraint run_scope_check check (
    scope in ('due', 'refresh', 'recheck', 'ids', 'repair', 'preview', 'replay', 'hold', 'release', 'undo')
  ),
  add column of_run_id bigint;

comment on table identity_sync.run is
  'A run: one pass over the rows that were due when it was planned, or one call of the writer by hand. It keeps its report.';
comment on column identity_sync.run.scope is
  'Which rows were planned; or what was done by hand: repair, preview (applied), replay, hold, release, undo.';
comment on column identity_sync.run.of_run_id is
  'The run that was undone, replayed, or previewed, of one by hand.';

alter table identity_sync.settlement add column written_by xid[] not null default '{}';

comment on column identity_sync.settlement.written_by is
  'The transactions (xmin) of the rows that it wrote or confirmed: a row with another was changed by somebody else since.';

alter type identity_sync_private.write_result add attribute written_by xid[];

-- A library that a settlement wrote, and whether it can be taken back: fate is undone, newer or held. was_absent: it had
-- no main row before; history_id is that row as it was; is_there whether it has one now.
create type identity_sync_private.undoing as (
  library_id integer,
  was_absent boolean,
  history_id integer,
  is_there boolean,
  fate text
);

drop function identity_sync.apply_identity_preview(bigint);
drop function identity_sync_private.apply_poison_input(bigint, integer, text, text, timestamptz, boolean);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb
);

--! Included functions/report/identity_run_report.sql
-- The report of a run: the sum of its batches' settlements, so it counts recorded outcomes and nothing else. What is
-- left stays due: the rows of batches that are unfinished, were abandoned or failed. It grows while the run is open; a
-- finished run keeps it, and only the entries still in quarantine are counted again.
create or replace function identity_sync.identity_run_report(run_id bigint default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  select
    coalesce(
      run.report,
      (
        select identity_sync_private.sum_reports(settlement.report)
        from identity_sync.settlement
        where settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
      ),
      identity_sync_private.empty_report()
    )
    || jsonb_build_object(
      'run_id', run.run_id,
      'scope', run.scope,
      'of_run_id', run.of_run_id,
      'dry_run', run.dry_run,
      'started_at', run.started_at,
      'finished_at', run.finished_at,
      'outcome', run.outcome,
      'outcome_reason', run.outcome_reason,
      'planned', run.planned,
      'held_by_others', cardinality(run.in_other_runs),
      'held_ids', to_jsonb(run.in_other_runs[:100]),
      'held_by_runs', to_jsonb(run.held_by_runs),
      'paused_until', case when run.finished_at is null then run.paused_until end,
      'stop_cause', run.stop_cause
    )
    || case when run.report ? 'left' then '{}' else (
      select
        jsonb_build_object(
          'left', coalesce(
            sum(cardinality(batch.library_ids))
              filter (where batch.state not in ('applied', 'empty', 'poisoned', 'split')),
            0
          ),
          'batches', count(*),
          'failed_batches', count(*) filter (where batch.state = 'failed')
        )
      from identity_sync.batch
      where batch.run_id = run.run_id
    ) end
    || case when run.report ? 'left' then '{}' else (
      select
        jsonb_build_object(
          'lml_total_calls', count(*),
          'lml_total_latency_ms', coalesce(sum(lml_call.latency_ms), 0)
        )
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = run.run_id
    ) end
    || case
      when run.report ? 'left' then '{}'
      else jsonb_build_object('warnings', identity_sync_private.identity_run_warnings(run.run_id))
    end
    || (
      select jsonb_build_object('quarantined', count(*))
      from identity_sync.quarantined_verdict as entry
      join identity_sync.settlement on settlement.settlement_id = entry.settlement_id
      where settlement.run_id = run.run_id and entry.closed_at is null
    )
  into report
  from identity_sync.run
  where run.run_id = coalesce(
    identity_run_report.run_id, (select max(latest.run_id) from identity_sync.run as latest)
  );

  if report is null and identity_run_report.run_id is not null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no run %s', identity_run_report.run_id);
  end if;

  return report;
end;
$$;

revoke all on function identity_sync.identity_run_report(bigint) from public;

comment on function identity_sync.identity_run_report(bigint) is
  'Takes a run (NULL: the latest); returns its report with its outcome and the rows left; NULL where there never was a run. Raises LS002 for an unknown run.';
--! EndIncluded functions/report/identity_run_report.sql
--! Included functions/write/add_write_results.sql
-- Two shares of a batch as one: lists are joined, counts are summed.
-- NULL stands for a share of which nothing was written, so that two of them make the empty result.
create or replace function identity_sync_private.add_write_results(
  earlier identity_sync_private.write_result,
  later identity_sync_private.write_result
)
returns identity_sync_private.write_result
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    coalesce(earlier.verdicts, '{}') || later.verdicts,
    coalesce(earlier.history_ids, '{}') || later.history_ids,
    coalesce(earlier.source_inserted, 0) + coalesce(later.source_inserted, 0),
    coalesce(earlier.source_changed, 0) + coalesce(later.source_changed, 0),
    coalesce(earlier.source_unchanged, 0) + coalesce(later.source_unchanged, 0),
    coalesce(earlier.source_removed, 0) + coalesce(later.source_removed, 0),
    coalesce(earlier.linked_credit_ids, '{}') || later.linked_credit_ids,
    coalesce(earlier.positioned_credit_ids, '{}') || later.positioned_credit_ids,
    identity_sync_private.add_reports(
      coalesce(earlier.compilation_track, identity_sync_private.empty_report() -> 'compilation_track'),
      later.compilation_track
    ),
    coalesce(earlier.written_by, '{}') || later.written_by
  )::identity_sync_private.write_result;
$$;

revoke all on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) from public;

comment on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) is
  'Takes the results of writing two shares of a batch, either NULL; returns them as one.';
--! EndIncluded functions/write/add_write_results.sql
--! Included functions/write/record_run_by_hand.sql
-- A call of the writer by hand is a run that is over at once: it shows where runs do, and is undone by its number. No
-- lane carries it, nothing joins it, and Sentry is not told of it.
create or replace function identity_sync_private.record_run_by_hand(
  run_id bigint,
  scope text,
  started_at timestamptz,
  report jsonb,
  of_run_id bigint default null,
  ids integer[] default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  refused constant integer := identity_sync_private.refused_rows(report);
  scanned constant integer := report ->> 'scanned';
  is_success constant boolean := identity_sync.report_is_success(report);
begin
  insert into identity_sync.run (
    run_id, scope, of_run_id, ids, dry_run, planned, report, opened_by, started_at, finished_at, reported_at, outcome,
    outcome_reason,
    -- What only planning knows.
    stale_days, unresolved_retry_days, include_null_canonical, partition_index, partition_count, strict_bands,
    batch_size, va_batch_size, deadline_at, scheduled
  )
  overriding system value
  select
    record_run_by_hand.run_id, record_run_by_hand.scope, record_run_by_hand.of_run_id, record_run_by_hand.ids, false,
    scanned, record_run_by_hand.report, session_user, record_run_by_hand.started_at, ended.at, ended.at,
    case when is_success then 'completed' else 'failed' end,
    case when not is_success then format('%s rows were refused, %s settled', refused, scanned - refused) end,
    0, 0, false, 0, 1, false, 0, 0, ended.at, false
  from (select clock_timestamp()) as ended (at);

  raise notice using
    errcode = 'LS009',
    message = format('this is run %s (%s)', run_id, scope),
    hint = 'By this number it is looked at and undone.';
end;
$$;

revoke all on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) from public;

comment on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) is
  'Takes the run''s number, what it was (repair, preview, replay, release, undo), when it began, its report, the run it is about and the ids named; records it as over, and tells its number in a notice (LS009).';
--! EndIncluded functions/write/record_run_by_hand.sql
--! Included functions/write/record_settlement.sql
-- Records one call of the writer: what it reported, what undoing it needs, and what the gauges of the brake counted:
-- rows that held an identity or were never asked before, verdicts that were judged, and identities that were there.
-- The memory of what the brake may take back is kept for the service alone.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempts_before jsonb,
  written identity_sync_private.write_result,
  report jsonb,
  run_id bigint,
  batch_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  scanned constant integer := cardinality(written.verdicts);
  settled record;
begin
  select
    array_agg(counted.library_id) filter (where counted.action = 'inserted') as inserted_ids,
    count(*) filter (where counted.unresolved) as unresolved,
    count(*) filter (where counted.unresolved and counted.outcome = 'unresolved') as unresolved_seen,
    array_agg(counted.library_id) filter (where counted.unresolved) as unresolved_ids,
    count(*) filter (where counted.is_judged) as refused,
    count(*) filter (where counted.outcome in ('invalid_verdict', 'writer_error')) as refused_seen,
    array_agg(counted.library_id) filter (where counted.is_judged and counted.library_id is not null) as refused_ids,
    count(*) filter (where counted.changed) as changed,
    count(*) filter (where counted.changed and counted.is_another) as changed_seen,
    array_agg(counted.library_id) filter (where counted.changed) as changed_ids
  into settled
  from (
    select
      verdict.library_id,
      verdict.outcome,
      verdict.action,
      coalesce(attempted.held_identity, true)
        and verdict.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved') as unresolved,
      verdict.outcome not in (
        'lml_error', 'lml_cardinality_mismatch', 'lml_untrusted_library_id', 'library_gone'
      ) as is_judged,
      verdict.action in ('changed', 'unchanged') as changed,
      former.library_id is not null as is_another
    from unnest(written.verdicts) as verdict
    left join jsonb_to_recordset(attempts_before) as attempted (library_id integer, held_identity boolean)
      on attempted.library_id = verdict.library_id
    left join (
      select known.*
      from wxyc_schema.library_identity_history as known
      where known.history_id = any (written.history_ids)
      offset 0
    ) as former
      on former.library_id = verdict.library_id
      -- An id that comes or goes names no other artist.
      and (
        former.discogs_artist_id <> verdict.discogs_artist_id
        or former.musicbrainz_artist_id <> verdict.musicbrainz_artist_id
        or former.wikidata_qid <> verdict.wikidata_qid
        or former.spotify_id <> verdict.spotify_id
        or former.apple_music_id <> verdict.apple_music_id
        or former.bandcamp_id <> verdict.bandcamp_id
      )
    -- The fence: without it each count judges the outcome again.
    offset 0
  ) as counted;

  insert into identity_sync.settlement (
    settlement_id, run_id, batch_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, written_by,
    unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen
  )
  overriding system value
  values (
    record_settlement.settlement_id, record_settlement.run_id, record_settlement.batch_id,
    record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report,
    coalesce(settled.inserted_ids, '{}'), written.history_ids,
    written.linked_credit_ids, written.positioned_credit_ids, coalesce(written.written_by, '{}'),
    settled.unresolved, settled.unresolved_seen, settled.refused, settled.refused_seen,
    settled.changed, settled.changed_seen
  );

  if settled.refused > 0 and not identity_sync_private.is_repair(origin) then
    insert into identity_sync.brake_memory (
      settlement_id, unresolved_ids, refused_ids, changed_ids, attempts_before
    )
    values (
      record_settlement.settlement_id, coalesce(settled.unresolved_ids, '{}'), coalesce(settled.refused_ids, '{}'),
      coalesce(settled.changed_ids, '{}'), record_settlement.attempts_before
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb,
  bigint, bigint
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb,
  bigint, bigint
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, the report, and the run and the batch (NULL: a call by hand) that it belongs to; records them.';
--! EndIncluded functions/write/record_settlement.sql
--! Included functions/write/write_track_links.sql
-- Links the tracks of compilations to the artists who play them: compares, then issues one UPDATE, and none where
-- nothing changes. What a link was is kept in superseded_track_link; a librarian's is never touched, and no column but
-- the four of the link is named.
create or replace function identity_sync_private.write_track_links(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Credits are taken in id order, one by one through their key, however many rows the planner expects of an array.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  -- What a person says of a track holds, as a librarian's link does.
  link_method constant text := case when is_repair then 'librarian' else 'lml_backfill' end;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
  current identity_sync_private.judged_verdict[];
  compared identity_sync_private.compared_tracks;
  changed integer;
  touched integer;
begin
  -- Newer than this answer is an identity that is there, or the last answer that called the row a compilation.
  select
    array_agg(verdict) filter (where not listed.is_overtaken),
    array_agg(identity_sync_private.conclude_verdict(verdict, 'stale_verdict')) filter (where listed.is_overtaken)
  into current, written.verdicts
  from unnest(verdicts) as verdict
  left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
  left join identity_sync.attempt
    on attempt.library_id = verdict.library_id and attempt.outcome in ('compilation', 'compilation_unread')
  cross join lateral (
    select
      not is_repair
      and exists (
        select from unnest(array[known.last_verified_at, attempt.attempted_at]) as seen (at)
        where seen.at > write_track_links.verified_at and identity_sync_private.is_plausible_time(seen.at)
      ) as is_overtaken
  ) as listed;

  if current is null then
    return written;
  end if;
  written.verdicts := written.verdicts || current;

  compared := identity_sync_private.compare_track_links(current, results, link_method);
  written.compilation_track := compared.counts;

  if compared.changes is not null then
    changed := cardinality(compared.changes);

    if changed > cardinality(compared.linked) then
      insert into identity_sync.superseded_track_link (
        settlement_id, credit_id, library_id, action,
        track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
      )
      select
        write_track_links.settlement_id, known.id, known.library_id, change.action,
        known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
        format('verdict of %s, settlement %s', origin, write_track_links.settlement_id)
      from unnest(compared.changes) as change
      join wxyc_schema.compilation_track_artist as known on known.id = change.credit_id
      where change.action <> 'linked';
      get diagnostics touched = row_count;
      perform identity_sync_private.assert_row_count(
        'track links kept', changed - cardinality(compared.linked), touched
      );
    end if;

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = change.track_artist_id,
      track_artist_link_confidence = change.confidence,
      track_artist_link_method = case when change.action <> 'unlinked' or is_repair then link_method end,
      track_position = coalesce(known.track_position, change.new_position)
    from unnest(compared.changes) as change
    where known.id = change.credit_id and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('track links written', changed, touched);

    written.written_by := array(
      select known.xmin
      from wxyc_schema.compilation_track_artist as known
      where known.id = compared.changes[1].credit_id
    );
    written.linked_credit_ids := compared.linked;
    written.positioned_credit_ids := compared.positioned;

    -- Check deferred constraints now, while bisection can still isolate the offending verdict.
    set constraints all immediate;
  end if;

  return written;
end;
$$;

revoke all on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) is
  'Takes judged compilations whose tracks were visited and whose libraries the caller has locked, LML''s results, and their origin, time and settlement; links their credits and returns them with their final outcomes, and the counts. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_track_links.sql
--! Included functions/write/writing_transaction.sql
-- Undoing tells by its transaction (xmin) whether a row is as a settlement left it. One row stands for all, since a
-- settlement's share is written in one subtransaction, whose number no function tells.
create or replace function identity_sync_private.writing_transaction(
  identities identity_sync_private.judged_verdict[],
  settlement_id bigint
)
returns xid[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  for place in 1..coalesce(cardinality(identities), 0) loop
    if identities[place].action in ('inserted', 'changed') or identities[place].version is not null then
      return array(
        select known.xmin
        from wxyc_schema.library_identity as known
        where known.library_id = identities[place].library_id
      );
    end if;
  end loop;
  return array(
    select superseded.xmin
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = writing_transaction.settlement_id
    order by superseded.superseded_id desc
    limit 1
  );
end;
$$;

revoke all on function identity_sync_private.writing_transaction(
  identity_sync_private.judged_verdict[], bigint
) from public;

comment on function identity_sync_private.writing_transaction(identity_sync_private.judged_verdict[], bigint) is
  'Takes identities just written and their settlement; returns the transaction of their rows, an empty array where nothing was written.';
--! EndIncluded functions/write/writing_transaction.sql
--! Included functions/write/write_verdicts.sql
-- Writes judged identities: compares, then issues one statement a kind of change, and none where nothing changes.
-- It does all of it or raises, so that its caller can isolate a culprit; called again with the same verdicts it moves
-- nothing but last_verified_at.
create or replace function identity_sync_private.write_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  reason constant text := format('verdict of %s, settlement %s', origin, settlement_id);
  identities identity_sync_private.judged_verdict[];
  sources identity_sync_private.compared_sources;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
begin
  identities := identity_sync_private.compare_identities(verdicts, verified_at, is_repair);
  written.history_ids := identity_sync_private.write_identities(identities, origin, verified_at, reason);

  sources := identity_sync_private.compare_sources(identities);
  perform identity_sync_private.write_sources(identities, sources, origin, verified_at, settlement_id, reason);

  -- Check deferred constraints now, while bisection can still isolate the offending verdict.
  set constraints all immediate;

  written.written_by := identity_sync_private.writing_transaction(identities, settlement_id);
  written.verdicts := identities;
  written.source_inserted := sources.uncompared + sources.inserted;
  written.source_changed := sources.changed;
  written.source_unchanged := sources.unchanged;
  written.source_removed := sources.removed;
  return written;
end;
$$;

revoke all on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) is
  'Takes judged single_artist verdicts, whose libraries the caller has locked, with their origin, time and settlement; writes them and returns them with their final outcomes. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_verdicts.sql
--! Included functions/write/settle_verdicts.sql
-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run: judges each verdict,
-- writes the good ones, quarantines the bad ones and returns the report. A library is written whole or not at all, and
-- costs no other its verdict. Each call is a settlement, and belongs to a run.
create or replace function identity_sync_private.settle_verdicts(
  response jsonb,
  requested integer[],
  origin text,
  verified_at timestamptz,
  strict_bands boolean,
  asked_as bigint[] default null,
  run_id bigint default null,
  batch_id bigint default null,
  chosen integer[] default null
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
as $$
declare
  stated_origin constant text := coalesce(origin, identity_sync_private.repair_origin(session_user));
  is_repair constant boolean := identity_sync_private.is_repair(stated_origin);
  requested_ids constant integer[] := (
    select coalesce(array_agg(distinct named.id), case when requested is not null then '{}'::integer[] end)
    from unnest(requested) as named (id)
    where named.id is not null
  );
  results constant jsonb := identity_sync_private.results_of(response);
  set_aside constant jsonb := case when jsonb_typeof(response) = 'object' then response -> 'set_aside' end;
  -- Only a whole answer carries a version, and without one nothing can be said about tracks.
  tracks_contract_version constant jsonb := case
    when jsonb_typeof(response) = 'object' and response ? 'results' then response -> 'tracks_contract_version'
  end;
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  judged identity_sync_private.judged_verdict[];
  judged_ids integer[];
  attempts_before jsonb;
  resolvable identity_sync_private.judged_verdict[];
  visited identity_sync_private.judged_verdict[];
  others identity_sync_private.judged_verdict[];
  written identity_sync_private.write_result;
  report jsonb;
begin
  perform identity_sync_private.validate_application(stated_origin, verified_at, strict_bands);
  if results is null and requested_ids is null then
    raise exception using
      errcode = 'LS003',
      message = 'the response is no answer of LML',
      detail = format('It is %s.', coalesce(left(response::text, 200), 'no JSON')),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;

  if results is not null then
    judged := identity_sync_private.judge_identity_verdicts(
      results, requested_ids, strict_bands, tracks_contract_version
    );
    if chosen is not null then
      judged := array(select verdict from unnest(judged) as verdict where verdict.library_id = any (chosen));
    end if;
    judged_ids := array(select verdict.library_id from unnest(judged) as verdict);
    -- An id that was not asked is held as well: its quarantine entry may be written.
    perform identity_sync_private.lock_identities(judged_ids);
    if asked_as is not null and not is_repair then
      judged := identity_sync_private.mark_renamed(judged, requested, asked_as);
    end if;
    -- Hardly any library was released since it was asked, or is held, and their index is next to empty.
    if not is_repair
      and exists (
        select from identity_sync.attempt
        where attempt.library_id = any (judged_ids)
          and attempt.released_at is not null
          and (attempt.released_at > settle_verdicts.verified_at or attempt.outcome = 'held')
      )
    then
      judged := identity_sync_private.mark_overtaken(judged, verified_at);
    end if;
    select jsonb_agg(to_jsonb(attempt) || jsonb_build_object('held_identity', known.library_id is not null))
    into attempts_before
    from identity_sync.attempt
    left join wxyc_schema.library_identity as known on known.library_id = attempt.library_id
    where attempt.library_id = any (judged_ids);
  else
    judged := array(
      select identity_sync_private.bare_verdict(null, unanswered.id, 'lml_error')
      from unnest(requested_ids) as unanswered (id)
    );
  end if;

  select
    array_agg(verdict) filter (where verdict.outcome = 'resolved'),
    array_agg(verdict) filter (where verdict.outcome = 'resolved_compilation'),
    array_agg(verdict) filter (where verdict.outcome not in ('resolved', 'resolved_compilation'))
  into resolvable, visited, others
  from unnest(judged) as verdict;
  if not is_repair then
    others := identity_sync_private.mark_overtaken(others, verified_at);
  end if;

  if not is_repair then
    -- The backend gives a deletion up after 750 ms, so that a write which waits for one row soon lets go of the others.
    perform set_config('lock_timeout', '500ms', true);
  end if;
  written := identity_sync_private.add_write_results(
    identity_sync_private.write_or_bisect(resolvable, results, stated_origin, verified_at, this_settlement),
    identity_sync_private.write_or_bisect(visited, results, stated_origin, verified_at, this_settlement)
  );
  -- Every result, and every id without one, has exactly one outcome from here on.
  written.verdicts := written.verdicts || others;

  perform identity_sync_private.record_attempts(written.verdicts, verified_at, is_repair, this_settlement);
  -- What a person says by hand answers no question.
  if results is not null and not is_repair then
    perform identity_sync_private.remember_questions(
      written.verdicts, requested, coalesce(asked_as, identity_sync_private.current_fingerprints(requested))
    );
  end if;
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempts_before, written, report, run_id, batch_id
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
) from public;

comment on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
) is
  'Takes what apply_identity_verdicts takes, the run and the batch that the settlement belongs to, and the libraries it is limited to (NULL: all); returns the report. Raises what apply_identity_verdicts raises.';
--! EndIncluded functions/write/settle_verdicts.sql
--! Included functions/write/apply_identity_verdicts.sql
-- A verdict becomes rows here and nowhere else. A call by hand is a run of its own, so that it can be looked at and
-- taken back; the service's answers belong to the run that asked. A second call with the same verdicts changes nothing.
create or replace function identity_sync.apply_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  report jsonb;
begin
  report := identity_sync_private.settle_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as, this_run
  );
  perform identity_sync_private.record_run_by_hand(this_run, 'repair', started_at, report);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; whether a confidence outside its method''s band, or what is not known, refuses its verdict; and the fingerprints that the ids were asked by, in their order (NULL: by their present names). Returns the report as jsonb, and tells the number of its run in a notice (LS009). Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58: 55P03 where another session holds one of the libraries for 5 seconds, or, unless a repair, a row of the station for half a second.';
--! EndIncluded functions/write/apply_identity_verdicts.sql
--! Included functions/write/apply_poison_input.sql
-- Settles an input that LML refuses, or fails on while it answers others: the library gets a mark, and the input goes
-- to quarantine with LML's status and words. One whose library is gone, renamed or knows better leaves neither.
-- Settling it a second time changes nothing.
create or replace function identity_sync_private.apply_poison_input(
  batch_id bigint,
  library_id integer,
  reason text,
  body text,
  verified_at timestamptz,
  strict_bands boolean,
  run_id bigint default null
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_as constant bigint[] := (
    select batch.asked_as from identity_sync.batch where batch.batch_id = apply_poison_input.batch_id
  );
  counted_as text;
  recorded bigint;
  counted jsonb;
begin
  perform identity_sync_private.lock_identities(array[library_id]);

  counted_as := case
    when not exists (select from wxyc_schema.library where library.id = apply_poison_input.library_id)
    then 'library_gone'
    else (
      identity_sync_private.mark_overtaken(
        identity_sync_private.mark_renamed(
          array[identity_sync_private.bare_verdict(null, library_id, 'poison_input')], array[library_id], asked_as
        ),
        verified_at
      )
    )[1].outcome
  end;
  counted := jsonb_set(
    jsonb_set(identity_sync_private.empty_report(), '{scanned}', '1'), array['rows_skipped', counted_as], '1'
  );

  insert into identity_sync.settlement (
    run_id, batch_id, is_answer, origin, verified_at, requested, unrequested, report
  )
  select
    coalesce(apply_poison_input.run_id, batch.run_id), batch.batch_id, false,
    identity_sync_private.service_origin(), apply_poison_input.verified_at, 1, 0,
    counted
  from identity_sync.batch
  where batch.batch_id = apply_poison_input.batch_id
  returning settlement_id
  into strict recorded;

  if counted_as <> 'poison_input'
    or exists (
      select from identity_sync.quarantined_verdict as entry
      where entry.library_id = apply_poison_input.library_id
        and entry.closed_at is null
        and entry.outcome <> 'lml_untrusted_library_id'
        and entry.verified_at >= apply_poison_input.verified_at
    )
  then
    return counted;
  end if;

  perform identity_sync_private.replace_attempt(library_id, 'poison_input', verified_at, recorded)
  where not exists (
    select from identity_sync.attempt
    where attempt.library_id = apply_poison_input.library_id
      and attempt.attempted_at > apply_poison_input.verified_at
      and identity_sync_private.is_plausible_time(attempt.attempted_at)
  );

  perform identity_sync_private.remember_questions('{}', array[library_id], asked_as);

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = format('a later refusal, settlement %s', recorded)
  where entry.library_id = apply_poison_input.library_id and entry.closed_at is null;

  insert into identity_sync.quarantined_verdict (
    settlement_id, library_id, outcome, reason, verdict_text, origin, verified_at, strict_bands
  )
  values (
    recorded, apply_poison_input.library_id, 'poison_input', apply_poison_input.reason, left(body, 10000),
    identity_sync_private.service_origin(), apply_poison_input.verified_at, apply_poison_input.strict_bands
  );
  return counted;
end;
$$;

revoke all on function identity_sync_private.apply_poison_input(
  bigint, integer, text, text, timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.apply_poison_input(
  bigint, integer, text, text, timestamptz, boolean, bigint
) is
  'Takes the batch that held the input, its library, LML''s status in words, its body, of which 10,000 characters are kept, the time and strictness of the call, and the run that it counts for (NULL: that of the batch); settles it and returns the report. Raises 55P03 where another session holds the library for 5 seconds.';
--! EndIncluded functions/write/apply_poison_input.sql
--! Included functions/write/rehearse_identity_verdicts.sql
-- Applies verdicts for real inside a subtransaction and rolls it back, so a dry run meets the refusals of the database
-- too, deferred constraints included. Only the report remains; sequences have moved and dead rows stay until vacuum.
create or replace function identity_sync_private.rehearse_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  report := identity_sync_private.settle_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as
  );
  -- A code of its own: PL/pgSQL takes one that ends in 000 for its whole class, and would swallow the writer's errors.
  raise exception using errcode = 'LS007', message = 'the dry run is over, its report is returned';
exception
  when sqlstate 'LS007' then
    return report;
end;
$$;

revoke all on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) from public;

comment on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) is
  'Takes the arguments of apply_identity_verdicts; returns the report that it would return. Raises what it raises.';
--! EndIncluded functions/write/rehearse_identity_verdicts.sql
--! Included functions/batch/apply_identity_batch.sql
-- Writes LML's answer for a batch and closes the batch. A dry run rolls the writing back and keeps the answer's text,
-- so that exactly this answer can be applied later. A row that was left out of the request, since it had no artist
-- name, counts nowhere.
create or replace function identity_sync_private.apply_identity_batch(
  batch_id bigint,
  answer jsonb,
  body text default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  came_at timestamptz;
  service constant text := identity_sync_private.service_origin();
  results constant jsonb := identity_sync_private.results_of(answer);
  this_batch record;
  settled jsonb;
begin
  select batch.library_ids, batch.asked_as, batch.run_id, batch.answered_at, run.dry_run, run.strict_bands
  into strict this_batch
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = apply_identity_batch.batch_id;

  -- A kept answer is as old as its call.
  came_at := coalesce(this_batch.answered_at, clock_timestamp());

  -- What the request left out, unless it was because the row is gone.
  if array_position(this_batch.asked_as, null) is not null then
    select coalesce(array_agg(named.id), '{}'), coalesce(array_agg(named.fingerprint), '{}')
    into this_batch.library_ids, this_batch.asked_as
    from unnest(this_batch.library_ids, this_batch.asked_as) as named (id, fingerprint)
    where named.fingerprint is not null
      or not exists (select from wxyc_schema.library where library.id = named.id);
  end if;

  if this_batch.dry_run then
    settled := identity_sync_private.rehearse_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as
    );
    insert into identity_sync.settlement (
      run_id, batch_id, dry_run, origin, verified_at, requested, unrequested, report
    )
    values (
      this_batch.run_id, apply_identity_batch.batch_id, true, service, came_at, cardinality(this_batch.library_ids),
      (settled ->> 'scanned')::integer - cardinality(this_batch.library_ids), settled
    );
  else
    settled := identity_sync_private.settle_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as,
      this_batch.run_id, apply_identity_batch.batch_id
    );
  end if;

  update identity_sync.settlement
  set
    is_answer = body is not null,
    unknown_names = identity_sync_private.unknown_names(results, settled ->> 'source_rows_unknown' <> '0')
  where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');

  update identity_sync.batch
  set
    state = case when body is null then 'empty' else 'applied' end,
    library_ids = this_batch.library_ids,
    asked_as = this_batch.asked_as,
    leased_by = null,
    leased_until = null,
    answer = case when this_batch.dry_run then body end,
    answered_at = case when body is not null then came_at end,
    closed_at = clock_timestamp()
  where batch.batch_id = apply_identity_batch.batch_id;
end;
$$;

revoke all on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) from public;

comment on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) is
  'Takes a batch, LML''s answer and its text (NULL: nothing was left to request, and the answer is []); closes the batch as applied or empty. Raises what apply_identity_verdicts raises.';
--! EndIncluded functions/batch/apply_identity_batch.sql
--! Included functions/repair/apply_identity_preview.sql
-- Writes what a dry run previewed, the answers that it kept and the inputs that LML refused, without a second call to
-- LML. Each keeps its age, so a verdict that a newer one has overtaken since is a stale_verdict. A second time it
-- changes nothing.
create or replace function identity_sync.apply_identity_preview(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  previewed record;
  unknown_ids integer[];
  report jsonb := identity_sync_private.empty_report();
begin
  select run.dry_run, run.finished_at, run.batches_pruned_at, run.planned
  into previewed
  from identity_sync.run
  where run.run_id = apply_identity_preview.run_id
  -- Pruning waits, so that the answers stay until they are applied.
  for share;

  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if not previewed.dry_run then
    raise exception using
      errcode = 'LS004',
      message = format('run %s was no dry run', run_id),
      hint = 'What it answered is written already. Name a run made with --dry-run.';
  end if;
  if previewed.finished_at is null then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s is not over', run_id),
      hint = 'Wait for it, or look at identity_sync.run_progress.';
  end if;
  if previewed.batches_pruned_at is not null then
    raise exception using
      errcode = 'LS004',
      message = format('the answers of dry run %s are gone', run_id),
      hint = 'Answers are kept for KEEP_DAYS. Make a new dry run.';
  end if;

  if previewed.planned > 0 and not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
  )
  then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s got no answer', run_id),
      hint = 'There is nothing to apply. Make a new dry run.';
  end if;

  -- All of it at once: batch after batch, two such sessions could wait for each other.
  perform identity_sync_private.lock_identities(
    array(
      select unnest(batch.library_ids)
      from identity_sync.batch
      where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
    )
  );

  select array_agg(named.id order by named.id)
  into unknown_ids
  from unnest(ids) as named (id)
  where not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and named.id = any (batch.library_ids)
  );
  if unknown_ids is not null then
    raise exception using
      errcode = 'LS001',
      message = format('ids that dry run %s did not preview: %s', run_id, array_to_string(unknown_ids[:100], ', ')),
      hint = 'Look at what it would change, and name ids from there.';
  end if;

  for previewed in
    select
      batch.batch_id,
      named.library_ids,
      case when batch.asked_as is not null then named.asked_as end as asked_as,
      batch.failure as poison,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    cross join lateral (
      select array_agg(listed.id order by listed.place), array_agg(listed.fingerprint order by listed.place)
      from unnest(batch.library_ids, batch.asked_as) with ordinality as listed (id, fingerprint, place)
      where apply_identity_preview.ids is null or listed.id = any (apply_identity_preview.ids)
    ) as named (library_ids, asked_as)
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and (apply_identity_preview.ids is null or batch.library_ids && apply_identity_preview.ids)
    order by batch.batch_id
  loop
    if previewed.poison is not null then
      report := identity_sync_private.add_reports(
        report,
        identity_sync_private.apply_poison_input(
          previewed.batch_id, previewed.library_ids[1], previewed.poison, null, previewed.answered_at,
          previewed.strict_bands, this_run
        )
      );
      continue;
    end if;

    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.settle_verdicts(
        response => identity_sync.read_identity_answer(previewed.answer, cardinality(previewed.library_ids)),
        requested => previewed.library_ids,
        origin => identity_sync_private.service_origin(),
        verified_at => previewed.answered_at,
        strict_bands => previewed.strict_bands,
        asked_as => previewed.asked_as,
        run_id => this_run,
        chosen => apply_identity_preview.ids
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(this_run, 'preview', started_at, report, run_id, ids);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_preview(bigint, integer[]) from public;

comment on function identity_sync.apply_identity_preview(bigint, integer[]) is
  'Takes a dry run that has finished and the libraries to write (NULL: all); applies its kept answers, quarantines its poison inputs and returns the report. Raises LS001 for a library that was not previewed, LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
--! EndIncluded functions/repair/apply_identity_preview.sql
--! Included functions/repair/ask_again.sql
-- Forgets what libraries were asked by, so that they are due whatever holds. One that is due anyway, since it was never
-- asked for all that is known, needs no such trace.
create or replace function identity_sync_private.ask_again(library_ids integer[])
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.asked_as as known (library_id, fingerprint)
  select library.id, null
  from wxyc_schema.library
  left join wxyc_schema.library_identity as identity on identity.library_id = library.id
  where library.id = any (ask_again.library_ids)
    and (identity.library_id is not null or library.canonical_entity_id is null)
  order by library.id
  on conflict (library_id) do update
  set fingerprint = null
  where known.fingerprint is not null;
$$;

revoke all on function identity_sync_private.ask_again(integer[]) from public;

comment on function identity_sync_private.ask_again(integer[]) is
  'Takes library ids; makes those due that would not be so after their rows or marks were taken back.';
--! EndIncluded functions/repair/ask_again.sql
--! Included functions/repair/compared_columns.sql
-- The columns that a diff compares, of each kind of row: those that an operator reads. It leaves out keys, times, and
-- what only the history has.
create or replace function identity_sync_private.compared_columns(stored_row text)
returns text[]
language sql immutable parallel safe
return case split_part(stored_row, ' ', 1)
  when 'identity' then array[
    'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
    'discogs_master_id', 'discogs_release_id', 'musicbrainz_release_group_mbid', 'musicbrainz_release_mbid',
    'musicbrainz_recording_mbid', 'method', 'confidence', 'agreement_sources', 'notes'
  ]
  when 'source' then array['external_id', 'method', 'confidence', 'boost_sources', 'notes']
  else array['track_artist_id', 'track_artist_link_confidence', 'track_artist_link_method', 'track_position']
end;

revoke all on function identity_sync_private.compared_columns(text) from public;

comment on function identity_sync_private.compared_columns(text) is
  'Takes the name of a stored row (identity, source and its name, track and its id); returns the columns to compare.';
--! EndIncluded functions/repair/compared_columns.sql
--! Included functions/repair/libraries_written.sql
-- The libraries whose identity or source rows a settlement wrote; those that it only confirmed are not among them.
create or replace function identity_sync_private.libraries_written(settlement_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables that they were made for.
set enable_seqscan = off
as $$
  select distinct written.library_id
  from (
    select unnest(settlement.inserted_ids) as library_id
    from identity_sync.settlement
    where settlement.settlement_id = libraries_written.settlement_id
    union all
    select history.library_id
    from wxyc_schema.library_identity_history as history
    where history.history_id = any (
      array(
        select unnest(settlement.history_ids)
        from identity_sync.settlement
        where settlement.settlement_id = libraries_written.settlement_id
      )
    )
    union all
    select superseded.library_id
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = libraries_written.settlement_id
    -- The fence: without it the planner may read a whole index for the order that "distinct" likes.
    offset 0
  ) as written;
$$;

revoke all on function identity_sync_private.libraries_written(bigint) from public;

comment on function identity_sync_private.libraries_written(bigint) is
  'Takes a settlement; returns each library of which it inserted, changed or removed a main row or a source row.';
--! EndIncluded functions/repair/libraries_written.sql
--! Included functions/repair/libraries_of_run.sql
-- All libraries that undoing a run may touch, so that they can be held at once: written, linked, or marked by it.
create or replace function identity_sync_private.libraries_of_run(run_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with own as materialized (
    select settlement.settlement_id, settlement.linked_credit_ids
    from identity_sync.settlement
    where settlement.run_id = libraries_of_run.run_id and not settlement.dry_run
  )
  select listed.library_id
  from own
  cross join lateral identity_sync_private.libraries_written(own.settlement_id) as listed (library_id)
  union
  select credit.library_id
  from own
  cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
  join wxyc_schema.compilation_track_artist as credit on credit.id = linked.credit_id
  union
  select superseded.library_id
  from own
  join identity_sync.superseded_track_link as superseded on superseded.settlement_id = own.settlement_id
  union
  select attempt.library_id
  from own
  join identity_sync.attempt on attempt.settlement_id = own.settlement_id;
$$;

revoke all on function identity_sync_private.libraries_of_run(bigint) from public;

comment on function identity_sync_private.libraries_of_run(bigint) is
  'Takes a run; returns each library of which it wrote an identity, a source row, a track link or a mark.';
--! EndIncluded functions/repair/libraries_of_run.sql
--! Included functions/repair/links_of_run.sql
-- The credits that a run linked, each as it was and as it became. A first link had nothing before, and its position
-- counts only where the run filled it.
create or replace function identity_sync_private.links_of_run(run_id bigint, ids integer[])
returns table (library_id integer, stored_row text, old_content jsonb, new_content jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = links_of_run.run_id and not settlement.dry_run
  ),
  known_credit as (
    select * from wxyc_schema.compilation_track_artist as known where known.library_id = any (ids)
  ),
  kept_link as (
    select * from identity_sync.superseded_track_link as kept where kept.library_id = any (ids)
  ),
  link as (
    select own.settled_at, known.library_id, linked.credit_id, '{}'::jsonb as old_content,
      linked.credit_id = any (own.positioned_credit_ids) as is_positioned
    from own
    cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
    join known_credit as known on known.id = linked.credit_id
    union all
    select own.settled_at, superseded.library_id, superseded.credit_id, to_jsonb(superseded), true
    from own
    join kept_link as superseded on superseded.settlement_id = own.settlement_id
  )
  select distinct on (link.credit_id, link.settled_at)
    link.library_id, 'track ' || link.credit_id, link.old_content,
    coalesce(to_jsonb(later), to_jsonb(known), '{}')
      - (case when link.is_positioned then '{}' else '{track_position}' end)::text[]
  from link
  left join kept_link as later
    on later.library_id = link.library_id
    and later.credit_id = link.credit_id
    and later.superseded_at > link.settled_at
  left join known_credit as known on known.id = link.credit_id
  order by link.credit_id, link.settled_at, later.superseded_at;
end;
$$;

revoke all on function identity_sync_private.links_of_run(bigint, integer[]) from public;

comment on function identity_sync_private.links_of_run(bigint, integer[]) is
  'Takes a real run and the libraries that it wrote; returns one row a credit that it linked, relinked or unlinked, with its old and new content.';
--! EndIncluded functions/repair/links_of_run.sql
--! Included functions/repair/changes_of_run.sql
-- What a run changed, read from what it kept: what a row was stands in the history, what it became in the next entry
-- there, or in the row itself where nothing has changed it since. last_verified_at moves with every confirmation, and
-- is left out.
create or replace function identity_sync_private.changes_of_run(run_id bigint)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- Rows are found through their keys and joined once by hash, however many the planner expects.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
  ids constant integer[] := array(select identity_sync_private.libraries_of_run(changes_of_run.run_id));
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = changes_of_run.run_id and not settlement.dry_run
  ),
  known_identity as (
    select * from wxyc_schema.library_identity as known where known.library_id = any (ids)
  ),
  known_source as (
    select * from wxyc_schema.library_identity_source as known where known.library_id = any (ids)
  ),
  kept_source as (
    select * from identity_sync.superseded_source as kept where kept.library_id = any (ids)
  ),
  inserted as (
    select own.settlement_id, own.settled_at, own.verified_at, own.origin, listed.library_id
    from own
    cross join lateral unnest(own.inserted_ids) as listed (library_id)
  ),
  -- Each identity with the time at which it was left behind: the oldest one after a settlement is what that wrote.
  archived as materialized (
    select history.library_id, history.history_id, to_jsonb(history) as content,
      coalesce(keeping.settled_at, history.superseded_at) as left_at
    from wxyc_schema.library_identity_history as history
    join unnest(ids) as named (id) on named.id = history.library_id
    left join (
      select settlement.settled_at, kept.history_id
      from identity_sync.settlement
      cross join lateral unnest(settlement.history_ids) as kept (history_id)
    ) as keeping on keeping.history_id = history.history_id
  ),
  written as (
    select inserted.settled_at, inserted.library_id, '{}'::jsonb as old_content
    from inserted
    union all
    select own.settled_at, archived.library_id, archived.content
    from own
    cross join lateral unnest(own.history_ids) as kept (history_id)
    join archived on archived.history_id = kept.history_id
  ),
  identity as (
    select distinct on (written.library_id, written.settled_at)
      written.library_id, 'identity' as stored_row, written.old_content,
      coalesce(archived.content, to_jsonb(known), '{}') as new_content
    from written
    left join archived on archived.library_id = written.library_id and archived.left_at > written.settled_at
    left join known_identity as known on known.library_id = written.library_id
    order by written.library_id, written.settled_at, archived.left_at, archived.history_id
  ),
  source as (
    select distinct on (superseded.superseded_id)
      superseded.library_id, 'source ' || superseded.source as stored_row,
      case superseded.action when 'inserted' then '{}' else to_jsonb(superseded) end as old_content,
      case
        when later.action = 'inserted' then '{}'
        else coalesce(to_jsonb(later), to_jsonb(known), '{}')
      end as new_content
    from own
    join kept_source as superseded on superseded.settlement_id = own.settlement_id
    left join kept_source as later
      on later.library_id = superseded.library_id
      and later.source = superseded.source
      and later.superseded_id > superseded.superseded_id
    left join known_source as known
      on known.library_id = superseded.library_id and known.source = superseded.source
    order by superseded.superseded_id, later.superseded_id
  ),
  -- Sources of a new identity are not listed: they are those of its time and origin.
  inserted_source as (
    select distinct on (stored.library_id, stored.source)
      stored.library_id, 'source ' || stored.source as stored_row, '{}'::jsonb as old_content,
      stored.content as new_content
    from inserted
    join (
      select known.library_id, known.source, known.last_verified_at, known.notes, to_jsonb(known) as content
      from known_source as known
      union all
      select kept.library_id, kept.source, kept.last_verified_at, kept.notes, to_jsonb(kept)
      from kept_source as kept
      where kept.action <> 'inserted'
    ) as stored
      on stored.library_id = inserted.library_id
      and stored.last_verified_at = inserted.verified_at
      and stored.notes = inserted.origin
    left join kept_source as listed
      on listed.settlement_id = inserted.settlement_id
      and listed.library_id = stored.library_id
      and listed.source = stored.source
    where listed.superseded_id is null
    order by stored.library_id, stored.source
  ),
  changed as (
    select identity.library_id, identity.stored_row, identity.old_content, identity.new_content from identity
    union all
    select source.library_id, source.stored_row, source.old_content, source.new_content from source
    union all
    select listed.library_id, listed.stored_row, listed.old_content, listed.new_content from inserted_source as listed
    union all
    select link.library_id, link.stored_row, link.old_content, link.new_content
    from identity_sync_private.links_of_run(changes_of_run.run_id, ids) as link
  )
  select
    changed.library_id, changed.stored_row, field.name, changed.old_content ->> field.name,
    changed.new_content ->> field.name
  from changed
  cross join lateral unnest(identity_sync_private.compared_columns(changed.stored_row)) as field (name)
  where changed.old_content ->> field.name is distinct from changed.new_content ->> field.name;
end;
$$;

revoke all on function identity_sync_private.changes_of_run(bigint) from public;

comment on function identity_sync_private.changes_of_run(bigint) is
  'Takes a real run; returns one row a column that it changed, with its old and new value.';
--! EndIncluded functions/repair/changes_of_run.sql
--! Included functions/repair/find_undoable.sql
-- Finds what of a settlement can be taken back, writing nothing. A row was changed since where its transaction (xmin)
-- is none of ours, or where another run wrote the library later: it is newer, or held where a person holds it. What an
-- earlier undo has taken back is left out.
create or replace function identity_sync_private.find_undoable(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  ours xid[]
)
returns identity_sync_private.undoing[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  this_settlement identity_sync.settlement;
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = find_undoable.settlement_id;

  return array(
    with written as materialized (
      select
        listed.library_id,
        inserted.library_id is not null as was_absent,
        history.history_id,
        history.reason_category in ('release', 'undo') as may_be_gone
      from identity_sync_private.libraries_written(find_undoable.settlement_id) as listed (library_id)
      left join unnest(this_settlement.inserted_ids) as inserted (library_id) on inserted.library_id = listed.library_id
      left join (
        select kept.history_id, archived.library_id, archived.reason_category
        from unnest(this_settlement.history_ids) as kept (history_id)
        join wxyc_schema.library_identity_history as archived on archived.history_id = kept.history_id
      ) as history on history.library_id = listed.library_id
      left join unnest(undone_before) as undone (library_id) on undone.library_id = listed.library_id
      where undone.library_id is null and (ids is null or listed.library_id = any (ids))
    ),
    -- Source rows that are not as this settlement left them.
    moved as materialized (
      select superseded.library_id
      from identity_sync.superseded_source as superseded
      left join wxyc_schema.library_identity_source as known
        on known.library_id = superseded.library_id and known.source = superseded.source
      where superseded.settlement_id = find_undoable.settlement_id
        and case superseded.action
          when 'removed' then known.library_id is not null
          else (known.xmin = any (this_settlement.written_by)) is not true
        end
      union all
      select known.library_id
      from written
      join wxyc_schema.library_identity_source as known on known.library_id = written.library_id
      where written.was_absent
        and known.xmin <> all (this_settlement.written_by)
        and known.xmin <> all (ours)
        and identity_sync_private.is_ours(known.notes)
    )
    select
      row(
        written.library_id,
        written.was_absent,
        written.history_id,
        known.library_id is not null,
        case
          when later.library_id is null
            and moved.library_id is null
            and case
              when known.library_id is null
              then written.may_be_gone
                and exists (select from wxyc_schema.library where library.id = written.library_id)
              -- Nearly all rows are as this settlement left them, and need no look at the longer list.
              else (known.xmin = any (this_settlement.written_by) or known.xmin = any (ours))
                and not (
                  written.was_absent
                  and num_nonnulls(
                    known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
                    known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
                  ) > 0
                )
            end
          then 'undone'
          when identity_sync_private.is_set_by_hand(known.method, known.notes) then 'held'
          else 'newer'
        end
      )::identity_sync_private.undoing
    from written
    left join wxyc_schema.library_identity as known on known.library_id = written.library_id
    left join unnest(written_later) as later (library_id) on later.library_id = written.library_id
    left join (select distinct moved.library_id from moved) as moved on moved.library_id = written.library_id
  );
end;
$$;

revoke all on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) from public;

comment on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) is
  'Takes a settlement, the libraries to undo (NULL: all), those that other runs wrote later, those that an undo has taken back, and the transactions of our own since; returns the libraries written, each with its fate.';
--! EndIncluded functions/repair/find_undoable.sql
--! Included functions/repair/hold_identity.sql
-- Keeps a library as it is, as a repair would, until it is released: the service's verdicts over it are
-- manual_precedence. An identity is marked in its notes, with a history row, so that the hold goes where the identity
-- goes; a library without one gets the mark held, and is not asked meanwhile.
create or replace function identity_sync.hold_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  held_at constant timestamptz := clock_timestamp();
  kept_history_ids integer[];
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: it is kept in the history.';
  end if;
  if not exists (select from wxyc_schema.library where library.id = hold_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'hold');
  update wxyc_schema.library_identity as known
  set notes = identity_sync_private.repair_origin(session_user)
  where known.library_id = hold_identity.library_id;
  if not found then
    perform identity_sync_private.replace_attempt(library_id, 'held', held_at, this_settlement, held_at);
  end if;

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), held_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select known.xmin from wxyc_schema.library_identity as known where known.library_id = hold_identity.library_id
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'hold', held_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id, 'identity', case when kept_history_ids = '{}' then 'none' else 'held' end
  );
end;
$$;

revoke all on function identity_sync.hold_identity(integer, text) from public;

comment on function identity_sync.hold_identity(integer, text) is
  'Takes a library and why it is held; keeps it from being written until release_identity, and returns whether an identity is held or none is there. Raises LS001 for an empty reason, LS002 for an unknown library.';
--! EndIncluded functions/repair/hold_identity.sql
--! Included functions/repair/hold_written_rows.sql
-- Holds the rows of a settlement's libraries against writers who take no lock of ours, so that what is found undoable
-- is undone as it was found.
create or replace function identity_sync_private.hold_written_rows(settlement_id bigint, ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  written constant integer[] := array(
    select listed.library_id
    from identity_sync_private.libraries_written(hold_written_rows.settlement_id) as listed (library_id)
    where ids is null or listed.library_id = any (ids)
    order by listed.library_id
  );
  credit_ids constant integer[] := array(
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = hold_written_rows.settlement_id
    union
    select unnest(settlement.linked_credit_ids)
    from identity_sync.settlement
    where settlement.settlement_id = hold_written_rows.settlement_id
  );
begin
  perform from wxyc_schema.library_identity as known
  where known.library_id = any (written)
  order by known.library_id
  for update;
  perform from wxyc_schema.library_identity_source as known
  where known.library_id = any (written)
  order by known.library_id, known.source
  for update;
  perform from wxyc_schema.compilation_track_artist as known
  where known.id = any (credit_ids) and (ids is null or known.library_id = any (ids))
  order by known.id
  for no key update;
end;
$$;

revoke all on function identity_sync_private.hold_written_rows(bigint, integer[]) from public;

comment on function identity_sync_private.hold_written_rows(bigint, integer[]) is
  'Takes a settlement and the libraries to undo (NULL: all); locks their main rows, source rows and credits until the transaction ends. Raises 55P03 where another session holds one for longer than lock_timeout.';
--! EndIncluded functions/repair/hold_written_rows.sql
--! Included functions/repair/identity_run_changes.sql
-- What a run changed, or what applying a dry run would change: the preview is applied and rolled back, so that the
-- diff meets what the database would refuse. Ids that name somebody else come first, then ids that come or go, then
-- the rest.
create or replace function identity_sync.identity_run_changes(run_id bigint)
returns table (
  library_id integer,
  artist_name text,
  album_title text,
  stored_row text,
  column_name text,
  old_value text,
  new_value text
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set client_min_messages = warning
as $$
declare
  is_dry_run constant boolean := (
    select run.dry_run from identity_sync.run where run.run_id = identity_run_changes.run_id
  );
  changes jsonb[];
begin
  if is_dry_run is null then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;

  if is_dry_run then
    begin
      perform identity_sync.apply_identity_preview(run_id);
      changes := array(
        select to_jsonb(changed)
        from identity_sync_private.changes_of_run(currval('identity_sync.run_run_id_seq')) as changed
      );
      raise exception using errcode = 'LS007', message = 'the dry run is over, its changes are returned';
    exception
      when sqlstate 'LS007' then null;
    end;
  end if;

  return query
  select
    changed.library_id, library.artist_name::text, library.album_title::text, changed.stored_row, changed.column_name,
    changed.old_value, changed.new_value
  from (
    select * from identity_sync_private.changes_of_run(identity_run_changes.run_id) where not is_dry_run
    union all
    select previewed.*
    from unnest(changes) as listed (change)
    cross join lateral jsonb_to_record(listed.change) as previewed (
      library_id integer, stored_row text, column_name text, old_value text, new_value text
    )
  ) as changed
  left join wxyc_schema.library on library.id = changed.library_id
  cross join lateral (
    select
      case
        when changed.column_name !~ '(_id|_qid|_mbid)$' then 3
        when changed.old_value is null or changed.new_value is null then 2
        else 1
      end as place
  ) as ranked
  order by ranked.place, changed.library_id, changed.stored_row, changed.column_name;
end;
$$;

revoke all on function identity_sync.identity_run_changes(bigint) from public;

comment on function identity_sync.identity_run_changes(bigint) is
  'Takes a run; returns one row a column that it changed, or that applying a dry run would change, old beside new, each with the library''s artist and title. Raises LS002 for an unknown run, and for a dry run what apply_identity_preview raises.';
--! EndIncluded functions/repair/identity_run_changes.sql
--! Included functions/repair/release_identity.sql
-- Takes back a library's identity, or the hold of a repair on it: what LML composes goes, with a history row, and the
-- library is due at once, while an answer given before is a stale_verdict. The main row itself goes where no other
-- writer's column is filled; otherwise its ids of ours are emptied and its confidence is 0, so that it does not count
-- as resolved.
create or replace function identity_sync.release_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  released_at constant timestamptz := clock_timestamp();
  is_shared boolean;
  kept_history_ids integer[];
  removals identity_sync_private.source_change[];
  removed_sources integer;
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: it is kept in the history.';
  end if;
  if not exists (select from wxyc_schema.library where library.id = release_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  select
    num_nonnulls(
      known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
      known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
    ) > 0
  into is_shared
  from wxyc_schema.library_identity as known
  where known.library_id = release_identity.library_id
  for update;

  kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'release');

  if is_shared then
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = null,
      musicbrainz_artist_id = null,
      wikidata_qid = null,
      spotify_id = null,
      apple_music_id = null,
      bandcamp_id = null,
      confidence = 0,
      notes = identity_sync_private.service_origin()
    where known.library_id = release_identity.library_id;
  else
    delete from wxyc_schema.library_identity as known where known.library_id = release_identity.library_id;
  end if;

  -- Locked first, so that the rows which are copied are the rows which go.
  select array_agg(
    row(locked.library_id, locked.source, null, null, null, 'removed', null, null)::identity_sync_private.source_change
  )
  into removals
  from (
    select known.library_id, known.source
    from wxyc_schema.library_identity_source as known
    where known.library_id = release_identity.library_id and identity_sync_private.is_ours(known.notes)
    for update
  ) as locked;
  removed_sources := identity_sync_private.archive_sources(removals, this_settlement, reason);
  delete from wxyc_schema.library_identity_source as known
  using unnest(removals) as removal
  where known.library_id = removal.library_id and known.source = removal.source;

  perform identity_sync_private.replace_attempt(
    library_id, 'released', released_at, this_settlement, released_at
  );

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), released_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select known.xmin
      from wxyc_schema.library_identity as known
      where is_shared and known.library_id = release_identity.library_id
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'release', released_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id,
    'identity', case when is_shared is null then 'none' when is_shared then 'emptied' else 'removed' end,
    'sources_removed', removed_sources
  );
end;
$$;

revoke all on function identity_sync.release_identity(integer, text) from public;

comment on function identity_sync.release_identity(integer, text) is
  'Takes a library and why its identity is taken back; returns what became of it (none, emptied, removed) and how many source rows went. Raises LS001 for an empty reason, LS002 for an unknown library.';
--! EndIncluded functions/repair/release_identity.sql
--! Included functions/repair/replay_quarantined_verdicts.sql
-- Judges and applies quarantined verdicts again, after a rule or a constraint has changed: each with its own origin,
-- time and strictness. What is refused again returns to quarantine, and a poison input, which has no verdict, becomes
-- due; a verdict that was not asked, or is ahead of the clock, stays. Entries of one answer are applied together.
create or replace function identity_sync.replay_quarantined_verdicts(
  run_id bigint default null,
  ids integer[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  replayable bigint[];
  never_replayed bigint;
  answer record;
  report jsonb := identity_sync_private.empty_report();
  replayed integer := 0;
  made_due bigint;
begin
  if run_id is not null
    and not exists (select from identity_sync.run where run.run_id = replay_quarantined_verdicts.run_id)
  then
    raise exception using errcode = 'LS002', message = format('there is no run %s', run_id);
  end if;

  select
    coalesce(array_agg(entry.quarantine_id) filter (where listed.can_be_replayed), '{}'),
    count(*) filter (where not listed.can_be_replayed)
  into replayable, never_replayed
  from identity_sync.quarantined_verdict as entry
  left join identity_sync.settlement
    on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
  cross join lateral (
    select
      entry.outcome = 'poison_input'
      or entry.outcome <> 'lml_untrusted_library_id'
        and isfinite(entry.verified_at)
        and identity_sync_private.is_plausible_time(entry.verified_at) as can_be_replayed
  ) as listed
  where entry.closed_at is null
    and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
    and (ids is null or entry.library_id = any (ids));

  -- Only what is replayed is held, and all of it at once.
  perform identity_sync_private.lock_identities(
    array(
      select entry.library_id
      from identity_sync.quarantined_verdict as entry
      where entry.quarantine_id = any (replayable)
    )
  );

  perform identity_sync_private.replace_attempt(entry.library_id, 'released', clock_timestamp(), null)
  from identity_sync.quarantined_verdict as entry
  where entry.quarantine_id = any (replayable) and entry.closed_at is null and entry.outcome = 'poison_input';
  get diagnostics made_due = row_count;

  for answer in
    select
      entry.origin,
      entry.verified_at,
      entry.strict_bands,
      array_agg(entry.quarantine_id) as quarantine_ids,
      array_agg(entry.library_id) filter (where entry.library_id is not null) as requested,
      min(entry.verdict_text) as verdict_text,
      jsonb_build_object(
        'results', jsonb_agg(entry.verdict order by entry.library_id, entry.quarantine_id),
        'tracks_contract_version', entry.tracks_contract_version
      ) as verdicts
    from identity_sync.quarantined_verdict as entry
    where entry.quarantine_id = any (replayable) and entry.closed_at is null and entry.outcome <> 'poison_input'
    group by
      entry.verified_at, entry.origin, entry.strict_bands, entry.tracks_contract_version,
      entry.library_id is null,
      -- A text that jsonb cannot hold is an answer of its own.
      case when entry.verdict_text is not null then entry.quarantine_id end
    order by entry.verified_at, min(entry.quarantine_id)
  loop
    update identity_sync.quarantined_verdict
    set closed_at = clock_timestamp(), closed_reason = 'replayed'
    where quarantined_verdict.quarantine_id = any (answer.quarantine_ids);

    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.settle_verdicts(
        response => case
          when answer.verdict_text is null then answer.verdicts
          else identity_sync.read_identity_answer(answer.verdict_text)
        end,
        requested => answer.requested,
        origin => answer.origin,
        verified_at => answer.verified_at,
        strict_bands => answer.strict_bands,
        -- A refusal is the last answer that its library has got.
        asked_as => array(
          select known.fingerprint
          from unnest(answer.requested) with ordinality as named (library_id, place)
          left join identity_sync.asked_as as known on known.library_id = named.library_id
          order by named.place
        ),
        run_id => this_run
      )
    );
    replayed := replayed + cardinality(answer.quarantine_ids);
  end loop;

  perform identity_sync_private.record_run_by_hand(this_run, 'replay', started_at, report, run_id, ids);
  return report || jsonb_build_object(
    'replayed', replayed,
    'made_due', made_due,
    'never_replayed', never_replayed
  );
end;
$$;

revoke all on function identity_sync.replay_quarantined_verdicts(bigint, integer[]) from public;

comment on function identity_sync.replay_quarantined_verdicts(bigint, integer[]) is
  'Takes a run (NULL: all runs) and library ids (NULL: all libraries); replays their open quarantine entries and returns the report, with the counts replayed, made_due and never_replayed (untrusted, or ahead of the clock). Raises LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/repair/replay_quarantined_verdicts.sql
--! Included functions/repair/undo_identities.sql
-- Makes main rows and source rows what they were before a settlement, one statement a kind of change. What goes or
-- changes is kept first, as by the writer, so that an undo can be undone. Columns of other writers stay as they are.
create or replace function identity_sync_private.undo_identities(
  settlement_id bigint,
  undoings identity_sync_private.undoing[],
  undo_settlement_id bigint,
  reason text,
  out inserted_ids integer[],
  out history_ids integer[],
  out removed integer,
  out restored integer,
  out sources_removed integer,
  out sources_restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  written_by constant xid[] := (
    select settlement.written_by
    from identity_sync.settlement
    where settlement.settlement_id = undo_identities.settlement_id
  );
  ids constant integer[] := array(select undoing.library_id from unnest(undoings) as undoing);
  changes identity_sync_private.source_change[];
  touched integer;
begin
  history_ids := identity_sync_private.archive_identities(
    array(
      select undoing.library_id
      from unnest(undoings) as undoing
      where undoing.is_there and (undoing.was_absent or undoing.history_id is not null)
    ),
    reason, 'undo'
  );

  delete from wxyc_schema.library_identity as known
  using unnest(undoings) as undoing
  where undoing.was_absent and known.library_id = undoing.library_id;
  get diagnostics removed = row_count;

  update wxyc_schema.library_identity as known
  set
    discogs_artist_id = history.discogs_artist_id,
    musicbrainz_artist_id = history.musicbrainz_artist_id,
    wikidata_qid = history.wikidata_qid,
    spotify_id = history.spotify_id,
    apple_music_id = history.apple_music_id,
    bandcamp_id = history.bandcamp_id,
    method = history.method,
    confidence = history.confidence,
    last_verified_at = history.last_verified_at,
    notes = history.notes
  from unnest(undoings) as undoing
  join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
  where undoing.is_there and known.library_id = undoing.library_id;
  get diagnostics restored = row_count;

  with returned as (
    insert into wxyc_schema.library_identity (
      library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
      musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
      agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id
    )
    select
      history.library_id, history.discogs_master_id, history.discogs_release_id, history.musicbrainz_release_group_mbid,
      history.musicbrainz_release_mbid, history.musicbrainz_recording_mbid, history.wikidata_qid, history.spotify_id,
      history.apple_music_id, history.last_verified_at, history.method, history.confidence,
      history.agreement_sources, history.notes, history.discogs_artist_id, history.musicbrainz_artist_id,
      history.bandcamp_id
    from unnest(undoings) as undoing
    join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
    where not undoing.is_there
    returning library_id
  )
  select coalesce(array_agg(returned.library_id), '{}')
  into inserted_ids
  from returned;
  restored := restored + cardinality(inserted_ids);

  -- What the settlement inserted goes; what it changed was kept, and comes back.
  changes := array(
    select
      row(
        known.library_id, known.source, superseded.external_id, superseded.method, superseded.confidence,
        case superseded.action when 'changed' then 'changed' else 'removed' end, known.ctid, false
      )::identity_sync_private.source_change
    from wxyc_schema.library_identity_source as known
    left join identity_sync.superseded_source as superseded
      on superseded.library_id = known.library_id
      and superseded.source = known.source
      and superseded.settlement_id = undo_identities.settlement_id
    where known.library_id = any (ids) and known.xmin = any (written_by)
  );
  perform identity_sync_private.archive_sources(changes, undo_settlement_id, reason);

  delete from wxyc_schema.library_identity_source as known
  using unnest(changes) as change
  where change.action = 'removed' and known.library_id = change.library_id and known.source = change.source;
  get diagnostics sources_removed = row_count;

  update wxyc_schema.library_identity_source as known
  set
    external_id = superseded.external_id,
    method = superseded.method,
    confidence = superseded.confidence,
    last_verified_at = superseded.last_verified_at,
    boost_sources = superseded.boost_sources,
    notes = superseded.notes
  from unnest(ids) as undone (library_id)
  join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
  where superseded.settlement_id = undo_identities.settlement_id
    and superseded.action = 'changed'
    and known.library_id = superseded.library_id
    and known.source = superseded.source;
  get diagnostics sources_restored = row_count;

  with returned as (
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes
    )
    select
      superseded.library_id, superseded.source, superseded.external_id, superseded.method, superseded.confidence,
      superseded.last_verified_at, superseded.boost_sources, superseded.notes
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_identities.settlement_id and superseded.action = 'removed'
    returning library_id, source
  )
  insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
  select undo_settlement_id, returned.library_id, returned.source, 'inserted', reason
  from returned;
  get diagnostics touched = row_count;
  sources_restored := sources_restored + touched;
end;
$$;

revoke all on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) from public;

comment on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) is
  'Takes a settlement, what of it can be taken back, the settlement of the undo and its reason; returns the main rows inserted and kept, and the counts of rows removed and restored.';
--! EndIncluded functions/repair/undo_identities.sql
--! Included functions/repair/undo_track_links.sql
-- Makes credits what they were before a settlement linked them. A credit that anybody has touched since stays; what
-- goes is kept first, as by the writer.
create or replace function identity_sync_private.undo_track_links(
  settlement_id bigint,
  ids integer[],
  undone_by xid[],
  undo_settlement_id bigint,
  reason text,
  out restored_library_ids integer[],
  out restored integer,
  out newer integer,
  out held integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  this_settlement identity_sync.settlement;
  credit_ids integer[];
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = undo_track_links.settlement_id;

  select
    array_agg(known.id order by known.id) filter (where moved.fate = 'undone'),
    count(*) filter (where moved.fate = 'newer'),
    count(*) filter (where moved.fate = 'held')
  into credit_ids, newer, held
  from (
    select unnest(this_settlement.linked_credit_ids) as credit_id
    union
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = undo_track_links.settlement_id
  ) as written
  join wxyc_schema.compilation_track_artist as known on known.id = written.credit_id
  left join identity_sync.attempt on attempt.library_id = known.library_id and attempt.outcome = 'held'
  cross join lateral (
    select
      case
        when known.xmin = any (undone_by) then 'undone before'
        when attempt.library_id is not null then 'held'
        when known.xmin = any (this_settlement.written_by) then 'undone'
        when known.track_artist_link_method = 'librarian' then 'held'
        else 'newer'
      end as fate
  ) as moved
  where ids is null or known.library_id = any (ids);

  insert into identity_sync.superseded_track_link (
    settlement_id, credit_id, library_id, action,
    track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
  )
  select
    undo_settlement_id, known.id, known.library_id,
    case when before.credit_id is null then 'unlinked' else 'changed' end,
    known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
    undo_track_links.reason
  from wxyc_schema.compilation_track_artist as known
  left join identity_sync.superseded_track_link as before
    on before.settlement_id = undo_track_links.settlement_id and before.credit_id = known.id
  where known.id = any (credit_ids);

  with kept as (
    select
      undone.credit_id,
      before.track_artist_id,
      before.track_artist_link_confidence,
      before.track_artist_link_method,
      case
        when before.credit_id is not null then before.track_position
        when undone.credit_id <> all (this_settlement.positioned_credit_ids) then known.track_position
      end as track_position
    from unnest(credit_ids) as undone (credit_id)
    join wxyc_schema.compilation_track_artist as known on known.id = undone.credit_id
    left join identity_sync.superseded_track_link as before
      on before.settlement_id = undo_track_links.settlement_id and before.credit_id = undone.credit_id
  ),
  undone as (
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = kept.track_artist_id,
      track_artist_link_confidence = kept.track_artist_link_confidence,
      track_artist_link_method = kept.track_artist_link_method,
      track_position = kept.track_position
    from kept
    where known.id = kept.credit_id
    returning known.library_id
  )
  select count(*), coalesce(array_agg(distinct undone.library_id), '{}')
  into restored, restored_library_ids
  from undone;
end;
$$;

revoke all on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) from public;

comment on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) is
  'Takes a settlement, the libraries to undo (NULL: all), the transactions of earlier undos of it, the settlement of this undo and its reason; returns the libraries and the number of credits restored, and how many were changed since, or are held by a librarian.';
--! EndIncluded functions/repair/undo_track_links.sql
--! Included functions/repair/undo_settlement.sql
-- Takes back one settlement of a run, as a settlement of the undo. That names what it wrote as any other does, so that
-- an undo can be undone.
create or replace function identity_sync_private.undo_settlement(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  undone_by xid[],
  ours xid[],
  undo_run_id bigint
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  reason constant text := format('undone by run %s, settlement %s', undo_run_id, this_settlement);
  origin constant text := format('undo:%s', session_user);
  found_rows identity_sync_private.undoing[];
  undoings identity_sync_private.undoing[];
  identities record;
  tracks record;
  undone_ids integer[];
  transaction xid;
begin
  perform identity_sync_private.hold_written_rows(settlement_id, ids);
  found_rows := identity_sync_private.find_undoable(settlement_id, ids, written_later, undone_before, ours);
  undoings := array(select undoing from unnest(found_rows) as undoing where undoing.fate = 'undone');

  select * into identities
  from identity_sync_private.undo_identities(settlement_id, undoings, this_settlement, reason);
  select * into tracks
  from identity_sync_private.undo_track_links(settlement_id, ids, undone_by, this_settlement, reason);
  undone_ids := array(select undoing.library_id from unnest(undoings) as undoing) || tracks.restored_library_ids;

  if cardinality(undone_ids) > 0 then
    perform identity_sync_private.ask_again(undone_ids);

    insert into identity_sync.settlement (
      settlement_id, run_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids
    )
    overriding system value
    values (
      this_settlement, undo_run_id, origin, clock_timestamp(), 0, 0, identity_sync_private.empty_report(),
      identities.inserted_ids, identities.history_ids
    )
    returning xmin
    into transaction;
    update identity_sync.settlement
    set written_by = array[transaction]
    where settlement.settlement_id = this_settlement;
  end if;

  return jsonb_build_object(
    'identity', jsonb_build_object('removed', identities.removed, 'restored', identities.restored),
    'source', jsonb_build_object('removed', identities.sources_removed, 'restored', identities.sources_restored),
    'compilation_track', jsonb_build_object('restored', tracks.restored),
    'newer', tracks.newer + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'newer'),
    'held', tracks.held + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'held')
  );
end;
$$;

revoke all on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) from public;

comment on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) is
  'Takes a settlement, the libraries to undo (NULL: all), what writes_since returns of its run, and the run of the undo; returns the counts of rows removed, restored and left.';
--! EndIncluded functions/repair/undo_settlement.sql
--! Included functions/repair/writes_since.sql
-- What others have done since a run: the libraries that another run wrote later, those that an undo of this run took
-- back last, and the transactions of the writer, which tell its confirmations from changes by somebody else.
-- Settlements of one library are in order of settled_at, since each is made while the library is held.
create or replace function identity_sync_private.writes_since(
  run_id bigint,
  out written_later integer[],
  out undone_before integer[],
  out undone_by xid[],
  out ours xid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  began_at constant timestamptz := (
    select min(settlement.settled_at)
    from identity_sync.settlement
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
  );
begin
  with written as (
    select listed.library_id, max(settlement.settled_at) as at
    from identity_sync.settlement
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
    group by listed.library_id
  ),
  later as (
    select
      listed.library_id,
      max(settlement.settled_at) as at,
      max(settlement.settled_at)
        filter (where run.scope = 'undo' and run.of_run_id = writes_since.run_id) as undone_at
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.settled_at > began_at
      and settlement.run_id is distinct from writes_since.run_id
      and not settlement.dry_run
    group by listed.library_id
  )
  select
    coalesce(array_agg(written.library_id) filter (where later.at is distinct from later.undone_at), '{}'),
    coalesce(array_agg(written.library_id) filter (where later.at = later.undone_at), '{}')
  into written_later, undone_before
  from written
  join later on later.library_id = written.library_id and later.at > written.at;

  select coalesce(array_agg(listed.written_by), '{}')
  into ours
  from identity_sync.settlement
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where settlement.settled_at >= began_at;

  select coalesce(array_agg(listed.written_by), '{}')
  into undone_by
  from identity_sync.run
  join identity_sync.settlement on settlement.run_id = run.run_id
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where run.scope = 'undo' and run.of_run_id = writes_since.run_id;
end;
$$;

revoke all on function identity_sync_private.writes_since(bigint) from public;

comment on function identity_sync_private.writes_since(bigint) is
  'Takes a run; returns its libraries that another run wrote later, those that an undo of it took back last, the transactions of these undos, and those of all settlements since it began.';
--! EndIncluded functions/repair/writes_since.sql
--! Included functions/repair/undo_identity_run.sql
-- Takes back what a run wrote: rows that it inserted go, others come back as they were, its marks and its quarantine
-- go, and all of it is due. What a verdict only confirmed stays, and so does what anybody has changed since. Undoing
-- is a run of its own, so that it is recorded, shown and undone like any other; a second time it changes nothing.
create or replace function identity_sync.undo_identity_run(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  undone record;
  since record;
  unmarked_ids integer[];
  quarantine_closed integer;
  report jsonb := '{
    "identity": {"removed": 0, "restored": 0},
    "source": {"removed": 0, "restored": 0},
    "compilation_track": {"restored": 0},
    "newer": 0,
    "held": 0
  }';
begin
  select run.dry_run, run.finished_at
  into undone
  from identity_sync.run
  where run.run_id = undo_identity_run.run_id
  for share;
  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if undone.finished_at is null then
    raise exception using
      errcode = 'LS001',
      message = format('run %s is not over', run_id),
      hint = format('Stop it first: select stop_identity_run(%s, ''why'').', run_id);
  end if;
  if undone.dry_run then
    raise exception using
      errcode = 'LS001',
      message = format('run %s was a dry run and wrote nothing', run_id),
      hint = 'A preview that was applied has a number of its own: the view run_progress lists it.';
  end if;

  -- All of it at once, before anything is looked at.
  perform identity_sync_private.lock_identities(
    array(
      select listed.library_id
      from identity_sync_private.libraries_of_run(run_id) as listed (library_id)
      where undo_identity_run.ids is null or listed.library_id = any (undo_identity_run.ids)
    )
  );

  with lifted as (
    delete from identity_sync.attempt
    using identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id
      and attempt.settlement_id = settlement.settlement_id
      and (undo_identity_run.ids is null or attempt.library_id = any (undo_identity_run.ids))
    returning attempt.library_id
  )
  select coalesce(array_agg(lifted.library_id), '{}')
  into unmarked_ids
  from lifted;
  perform identity_sync_private.ask_again(unmarked_ids);

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = format('undone by run %s', this_run)
  from identity_sync.settlement
  where settlement.run_id = undo_identity_run.run_id
    and entry.settlement_id = settlement.settlement_id
    and entry.closed_at is null
    and (undo_identity_run.ids is null or entry.library_id = any (undo_identity_run.ids));
  get diagnostics quarantine_closed = row_count;

  select * into since from identity_sync_private.writes_since(run_id);

  for undone in
    select settlement.settlement_id
    from identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id and not settlement.dry_run
    order by settlement.settlement_id
  loop
    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.undo_settlement(
        undone.settlement_id, ids, since.written_later, since.undone_before, since.undone_by, since.ours, this_run
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(
    this_run, 'undo', started_at, identity_sync_private.empty_report(), run_id, ids
  );
  return report || jsonb_build_object(
    'run_id', this_run, 'of_run_id', run_id, 'marks_lifted', cardinality(unmarked_ids),
    'quarantine_closed', quarantine_closed
  );
end;
$$;

revoke all on function identity_sync.undo_identity_run(bigint, integer[]) from public;

comment on function identity_sync.undo_identity_run(bigint, integer[]) is
  'Takes a run that is over and the libraries to undo (NULL: all); returns what was removed and restored, how many rows were left because they were changed since (newer) or are held by hand (held), and the number of the undo itself (run_id). Raises LS001 where the run is open or was a dry run, LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/repair/undo_identity_run.sql
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
      select coalesce(jsonb_agg(hold.name order by hold.name), '[]') from identity_sync.planning_hold as hold
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
      from identity_sync.planning_hold as hold
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
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns totals by kind and report key, and counts of due rows, open batches, calls in flight, quarantine and planning holds, and the seconds since the last success. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_metrics.sql
