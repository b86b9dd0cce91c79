--! Previous: sha1:825317306e9bf1185382bf7d3fd1ef5390a2d6f7
--! Hash: sha1:1ed0001969db19f26c69b4f30ffb054c41310bcc
--! Message: Questions beside gauges and refusals

-- The next migration begins here.

alter table identity_sync.quarantined_verdict add column asked_as bigint;

comment on column identity_sync.quarantined_verdict.asked_as is
  'The fingerprint that the library was asked by; NULL where it is not known, as for a repair.';

drop function identity_sync_private.remember_questions(identity_sync_private.judged_verdict[], integer[], bigint[]);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, bigint, bigint
);

comment on column identity_sync.settlement.changed_counted is
  'Identities confirmed or changed, without rows renamed since they were asked last and what a run had written that this gauge stopped: of them the brake measures changed_seen, which name another artist.';

--! Included functions/write/quarantine_verdicts.sql
-- Sets aside what was refused, as it came and with the reason in words, and closes the entries of libraries that have
-- an outcome since. A library has one open entry, its latest refusal; one that LML named without being asked never
-- pushes out a refusal that can be replayed.
create or replace function identity_sync_private.quarantine_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  set_aside jsonb,
  tracks_contract_version jsonb,
  origin text,
  verified_at timestamptz,
  strict_bands boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
-- A plan for one known answer would hold a copy of its megabytes for each time that it is named.
set plan_cache_mode = force_generic_plan
as $$
declare
  -- One field after another is looked at for a reason, so that a flood of refusals gets it for the first ones only.
  most_explained constant integer := 5000;
  later constant text := format('a later refusal, settlement %s', settlement_id);
begin
  update identity_sync.quarantined_verdict as entry
  set
    closed_at = clock_timestamp(), closed_by = quarantine_verdicts.settlement_id,
    closed_reason = format('%s by settlement %s', judged.outcome, quarantine_verdicts.settlement_id)
  from unnest(verdicts) as judged
  where judged.outcome in ('resolved', 'resolved_compilation', 'unresolved', 'compilation', 'library_gone')
    and entry.library_id = judged.library_id
    and entry.closed_at is null
    and (
      entry.verified_at <= quarantine_verdicts.verified_at
      or identity_sync_private.is_repair(quarantine_verdicts.origin)
    );

  if not exists (
    select from unnest(verdicts) as judged
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
  )
  then
    return;
  end if;

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = later, closed_by = quarantine_verdicts.settlement_id
  from (
    select judged.library_id, bool_or(judged.outcome <> 'lml_untrusted_library_id') as can_be_replayed
    from unnest(verdicts) as judged
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
    group by judged.library_id
  ) as refused
  where entry.library_id = refused.library_id
    and entry.closed_at is null
    and (refused.can_be_replayed or entry.outcome = 'lml_untrusted_library_id');

  with refused as materialized (
    select
      judged.ordinal,
      judged.library_id,
      judged.outcome,
      judged.refusal,
      outranking.library_id is not null as is_outranked,
      -- What can be replayed is open before what was not asked, and the last of its kind.
      row_number() over (
        partition by judged.library_id
        order by judged.outcome = 'lml_untrusted_library_id', judged.ordinal desc
      ) as place,
      row_number() over (order by judged.outcome = 'lml_untrusted_library_id', judged.ordinal) as number
    from unnest(verdicts) as judged
    left join identity_sync.quarantined_verdict as outranking
      on outranking.library_id = judged.library_id
      and outranking.closed_at is null
      and judged.outcome = 'lml_untrusted_library_id'
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
  )
  insert into identity_sync.quarantined_verdict (
    settlement_id, first_settlement_id, library_id, outcome, reason, path, value, sqlstate, message, constraint_name,
    verdict, verdict_text, tracks_contract_version, origin, verified_at, strict_bands, closed_at, closed_reason,
    asked_as
  )
  select
    quarantine_verdicts.settlement_id,
    identity_sync_private.replayed_settlement(
      refused.library_id, quarantine_verdicts.origin, quarantine_verdicts.verified_at
    ),
    refused.library_id, refused.outcome,
    coalesce((explained.fault).reason, 'the verdict breaks the wire contract'),
    (explained.fault).path, (explained.fault).value,
    (refused.refusal).sqlstate, (refused.refusal).message, nullif((refused.refusal).constraint_name, ''),
    kept.verdict,
    case
      when listed.aside is not null then listed.aside ->> 'unreadable'
      when kept.verdict is not null then null
      when pg_column_size(listed.verdict) > 1000000
      then format('%s bytes, with numbers too long to be shown', pg_column_size(listed.verdict))
      else identity_sync_private.spell_out(listed.verdict)
    end,
    identity_sync_private.printable(quarantine_verdicts.tracks_contract_version),
    quarantine_verdicts.origin, quarantine_verdicts.verified_at, quarantine_verdicts.strict_bands,
    case when closing.reason is not null then clock_timestamp() end,
    closing.reason,
    -- The question of this answer is remembered already.
    (
      select known.fingerprint
      from identity_sync.asked_as as known
      where known.library_id = refused.library_id and not identity_sync_private.is_repair(origin)
    )
  from refused
  cross join lateral (
    select results -> (refused.ordinal - 1) as verdict, set_aside -> refused.ordinal::text as aside
    offset 0
  ) as listed
  cross join lateral (
    select case when listed.aside is null then identity_sync_private.printable(listed.verdict) end as verdict
    offset 0
  ) as kept
  cross join lateral (
    select
      case
        when refused.outcome = 'invalid_verdict' and listed.aside is not null then row(
          listed.aside ->> 'path',
          null,
          format(
            '%s holds text that PostgreSQL cannot store: %s',
            coalesce(nullif(listed.aside ->> 'path', ''), 'the verdict'), listed.aside ->> 'fault'
          )
        )::identity_sync_private.refusal
        when refused.outcome = 'invalid_verdict' and refused.number <= most_explained
        then identity_sync_private.explain_refusal(listed.verdict, strict_bands)
        when refused.outcome = 'lml_untrusted_library_id' then row(
          'library_id',
          to_jsonb(refused.library_id),
          format('library_id %s was not asked, or is named for the second time', refused.library_id)
        )::identity_sync_private.refusal
        when refused.outcome = 'writer_error' then row(
          null, null, format('the database refused it: %s', (refused.refusal).message)
        )::identity_sync_private.refusal
      end as fault
    offset 0
  ) as explained
  cross join lateral (
    select
      case
        when refused.is_outranked then 'nobody asked for it, and a refusal that can be replayed is open'
        when refused.library_id is not null and refused.place > 1 then later
      end as reason
  ) as closing
  order by refused.outcome <> 'lml_untrusted_library_id', refused.ordinal;
end;
$$;

revoke all on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) is
  'Takes verdicts with their final outcomes, LML''s results, those set aside by their number, the tracks_contract_version they came with, and the settlement''s origin, time, strictness and id; writes and closes quarantine entries.';
--! EndIncluded functions/write/quarantine_verdicts.sql
--! Included functions/write/record_settlement.sql
-- Records one call of the writer: what it reported, what undoing it needs, and what the gauges of the brake counted:
-- rows that held an identity or were never asked before, verdicts that were judged, and identities that were there, but
-- for renamed rows, which ask for another artist, and for what a run had written that the gauge of changed identities
-- stopped. The memory of what the brake may take back is kept for the service alone.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempts_before jsonb,
  written identity_sync_private.write_result,
  report jsonb,
  renamed_ids integer[],
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
      verdict.action in ('changed', 'unchanged')
        and verdict.library_id <> all (renamed_ids)
        and former.is_doubted is not true as changed,
      -- An id that comes or goes names no other artist.
      former.discogs_artist_id <> verdict.discogs_artist_id
        or former.musicbrainz_artist_id <> verdict.musicbrainz_artist_id
        or former.wikidata_qid <> verdict.wikidata_qid
        or former.spotify_id <> verdict.spotify_id
        or former.apple_music_id <> verdict.apple_music_id
        or former.bandcamp_id <> verdict.bandcamp_id as is_another
    from unnest(written.verdicts) as verdict
    left join jsonb_to_recordset(attempts_before) as attempted (library_id integer, held_identity boolean)
      on attempted.library_id = verdict.library_id
    left join (
      select
        known.*,
        known.last_verified_at in (
          select doubted.verified_at
          from identity_sync.run
          join identity_sync.settlement as doubted on doubted.run_id = run.run_id
          where run.braked_by = 'changed'
        ) as is_doubted
      from wxyc_schema.library_identity_history as known
      where known.history_id = any (written.history_ids)
      offset 0
    ) as former
      on former.library_id = verdict.library_id
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
  integer[], bigint, bigint
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb,
  integer[], bigint, bigint
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, the report, the ids that were renamed since they were asked last, and the run and the batch (NULL: a call by hand) that it belongs to; records them.';
--! EndIncluded functions/write/record_settlement.sql
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
    return '{}';
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
    return '{}';
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
  renamed_ids integer[] := '{}';
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
    -- No answer that counts was given to the question of what is marked no more.
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
--! Included functions/repair/ask_again.sql
-- Forgets what libraries were asked by, so that they are due whatever holds. One that is due anyway, since it was never
-- asked for all that is known, needs no such trace; the mark of another answer says that it was.
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
    and (
      identity.library_id is not null
      or library.canonical_entity_id is null
      or exists (select from identity_sync.attempt where attempt.library_id = library.id)
    )
  order by library.id
  on conflict (library_id) do update
  set fingerprint = null
  where known.fingerprint is not null;
$$;

revoke all on function identity_sync_private.ask_again(integer[]) from public;

comment on function identity_sync_private.ask_again(integer[]) is
  'Takes library ids; makes those due that would not be so after their rows or marks were taken back.';
--! EndIncluded functions/repair/ask_again.sql
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
      array_agg(entry.library_id order by entry.library_id) filter (where entry.library_id is not null) as requested,
      array_agg(entry.asked_as order by entry.library_id) filter (where entry.library_id is not null) as asked_as,
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
        -- Where it is not known what was asked, the refusal is taken for the last answer that its library has got.
        asked_as => array(
          select coalesce(named.asked_as, known.fingerprint)
          from unnest(answer.requested, answer.asked_as) with ordinality as named (library_id, asked_as, place)
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
