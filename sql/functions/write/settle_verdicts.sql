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
  chosen integer[] default null,
  is_answer boolean default true
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
set jit = off
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
    -- A join would be planned while library_identity is empty, and once it is full read all of it for each attempt.
    select
      jsonb_agg(
        to_jsonb(attempt)
          || jsonb_build_object(
            'held_identity',
            (select count(*) = 1 from wxyc_schema.library_identity as known where known.library_id = attempt.library_id)
          )
      )
    into attempts_before
    from identity_sync.attempt
    where attempt.library_id = any (judged_ids);
    -- Hardly any library was ever released, or is held.
    if not is_repair and attempts_before @? '$[*].released_at ? (@ != null)' then
      judged := identity_sync_private.mark_overtaken(judged, verified_at);
    end if;
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
    case
      when batch_id is not null
      then identity_sync_private.unknown_names(results, report ->> 'source_rows_unknown' <> '0')
    end,
    renamed_ids, run_id, batch_id, is_answer
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[], boolean
) from public;

comment on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[], boolean
) is
  'Takes what apply_identity_verdicts takes, the run and the batch that the settlement belongs to, the libraries it is limited to (NULL: all), and whether LML was asked at all; returns the report. Raises what apply_identity_verdicts raises.';
