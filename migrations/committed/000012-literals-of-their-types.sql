--! Previous: sha1:80015c17977a530a8d639ab078788780724fbf0e
--! Hash: sha1:8c3d505713ae07e4731e2d09fc06e49fe11fdaf6
--! Message: Literals of their types

-- The next migration begins here.

--! Included functions/judge/unknown_names.sql
-- What LML names that this service does not know: it is written or left, but an operator should hear of it. All results
-- are looked through only where an unknown source row was counted, otherwise the first few; and the keys of one. What a
-- person cannot read is left out.
create or replace function identity_sync_private.unknown_names(results jsonb, has_unknown_sources boolean)
returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
-- A plan for one known answer would hold a copy of its megabytes for each time that it is named.
set plan_cache_mode = force_generic_plan
as $$
declare
  known constant jsonb := jsonb_build_object(
    'sources', identity_sync_private.sources(), 'methods', identity_sync_private.methods()
  );
  first_few constant jsonb := jsonb_path_query_array(results, '$[0 to 19]');
  examined constant jsonb := case when has_unknown_sources then results else first_few end;
  sample constant jsonb := coalesce(
    jsonb_path_query_first(first_few, '$[*] ? (@.kind == "single_artist" && @.main.type() == "object")'),
    first_few -> 0
  );
  known_keys constant text[] := '{
    library_id, kind, main, method, confidence, provenance, tracks_attempted, tracks,
    main.discogs_artist_id, main.musicbrainz_artist_id, main.wikidata_qid, main.spotify_artist_id,
    main.apple_music_artist_id, main.bandcamp_id
  }'::text[];
begin
  return array(
    select distinct format('%s %s', named.kind, named.word)
    from (
      select 'source' as kind, found.word #>> '{}' as word
      from jsonb_path_query(
        examined, '$[*].provenance[*].source ? (@.type() == "string" && !(@ == $sources[*]))', known
      ) as found (word)
      union all
      select 'method', found.word #>> '{}'
      from jsonb_path_query(
        examined, '$[*].provenance[*].method ? (@.type() == "string" && !(@ == $methods[*]))', known
      ) as found (word)
      union all
      select 'method', found.word #>> '{}'
      from jsonb_path_query(
        examined, '$[*].method ? (@.type() == "string" && !(@ == $methods[*]))', known
      ) as found (word)
      union all
      select 'key', listed.key
      from jsonb_object_keys(case jsonb_typeof(sample) when 'object' then sample else '{}' end) as listed (key)
      where listed.key <> all (known_keys)
      union all
      select 'key', 'main.' || listed.key
      from jsonb_object_keys(
        case jsonb_typeof(sample -> 'main') when 'object' then sample -> 'main' else '{}' end
      ) as listed (key)
      where 'main.' || listed.key <> all (known_keys)
    ) as named
    where identity_sync_private.is_elastic(named.word, false)
    order by 1
    -- A hostile answer may name a thousand.
    limit 20
  );
end;
$$;

revoke all on function identity_sync_private.unknown_names(jsonb, boolean) from public;

comment on function identity_sync_private.unknown_names(jsonb, boolean) is
  'Takes LML''s results and whether their source rows name what is unknown; returns up to 20 unknown sources, methods and keys, each as its kind and name.';
--! EndIncluded functions/judge/unknown_names.sql
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
  scanned constant integer := (report ->> 'scanned')::integer;
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
--! Included functions/write/remember_questions.sql
-- Remembers what libraries were asked by, for those whose answer counts, and tells which were asked otherwise before:
-- another answer to another question says nothing about LML. Nothing is written where the question is the one that was
-- asked before, which is nearly always so and which their sums tell.
create or replace function identity_sync_private.remember_questions(
  verdicts identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  known record;
  unanswered_ids integer[];
  renamed_ids integer[];
begin
  select count(*) as questions, sum(asked.fingerprint) as fingerprints
  into known
  from identity_sync.asked_as as asked
  where asked.library_id = any (requested);
  if known.fingerprints = (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) then
    return '{}'::integer[];
  end if;

  unanswered_ids := array(
    select verdict.library_id
    from unnest(verdicts) as verdict
    where verdict.outcome in ('stale_verdict', 'lml_cardinality_mismatch', 'lml_error', 'library_gone')
  );
  if known.questions = 0 then
    insert into identity_sync.asked_as (library_id, fingerprint)
    select question.library_id, question.fingerprint
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    where question.fingerprint is not null and question.library_id <> all (unanswered_ids)
    on conflict (library_id) do nothing;
    return '{}'::integer[];
  end if;

  renamed_ids := array(
    select question.library_id
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    join identity_sync.asked_as as asked on asked.library_id = question.library_id
    where question.fingerprint <> asked.fingerprint
  );

  insert into identity_sync.asked_as (library_id, fingerprint)
  select distinct on (question.library_id) question.library_id, question.fingerprint
  from unnest(requested, asked_as) as question (library_id, fingerprint)
  left join identity_sync.asked_as as asked on asked.library_id = question.library_id
  where question.fingerprint is distinct from asked.fingerprint
    and question.fingerprint is not null
    and question.library_id <> all (unanswered_ids)
  order by question.library_id
  on conflict (library_id) do update
  set fingerprint = excluded.fingerprint;
  return renamed_ids;
end;
$$;

revoke all on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes verdicts with their final outcomes, the ids that were requested and the fingerprints they were asked by (NULL: not known); remembers those that were answered, and returns the ids that were asked by another name or title before.';
--! EndIncluded functions/write/remember_questions.sql
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
  renamed_ids integer[] := '{}'::integer[];
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
    renamed_ids := identity_sync_private.remember_questions(
      written.verdicts, requested, coalesce(asked_as, identity_sync_private.current_fingerprints(requested))
    );
  end if;
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempts_before, written, report,
    renamed_ids, run_id, batch_id
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
  }'::jsonb;
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
