-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run alike: judges every
-- verdict on its own, writes the good ones, quarantines the bad ones, and returns the report. Each library is all or
-- nothing, whatever is wrong with its neighbours. A second call with the same verdicts changes nothing.
create or replace function identity_sync.apply_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
as $$
declare
  stated_origin constant text := coalesce(origin, 'repair:' || session_user);
  is_repair constant boolean := starts_with(stated_origin, 'repair:');
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
  resolvable identity_sync_private.judged_verdict[];
  visited identity_sync_private.judged_verdict[];
  settled identity_sync_private.write_result;
  outcomes identity_sync_private.verdict_outcome[];
  judged_ids integer[];
  without_identity integer[];
  overtaken integer[] := '{}';
  asked_in_vain integer[] := '{}';
  brake_sample integer;
  brake_unresolved_ids integer[];
  report jsonb;
begin
  if not is_repair and stated_origin <> 'consumer:lml-bulk' then
    raise exception using
      errcode = 'LS001',
      message = format('origin is %L', origin),
      hint = 'Allowed: consumer:lml-bulk for the service, a text that begins with repair: for a repair by hand, NULL for repair: and your login.';
  end if;
  if verified_at is null then
    raise exception using
      errcode = 'LS001',
      message = 'verified_at is NULL',
      hint = 'Name the time at which LML gave the answer, or leave it out for now.';
  end if;
  if strict_bands is null then
    raise exception using errcode = 'LS001', message = 'strict_bands is NULL', hint = 'Allowed: true, false.';
  end if;
  if results is null and requested_ids is null then
    raise exception using
      errcode = 'LS003',
      message = 'the response is no answer of LML',
      detail = format('It is %s.', coalesce(left(response::text, 200), 'no JSON')),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;

  if results is not null then
    judged := identity_sync_private.judge_identity_verdicts(results, requested_ids, strict_bands, tracks_contract_version);
    -- Nothing is ever written for an id that was not asked.
    judged_ids := coalesce(requested_ids, array(select verdict.library_id from unnest(judged) as verdict));
    perform identity_sync_private.lock_identities(judged_ids);
    asked_in_vain := array(
      select attempt.library_id
      from identity_sync.attempt
      where attempt.library_id = any (judged_ids)
        and not exists (
          select from wxyc_schema.library_identity as known where known.library_id = attempt.library_id
        )
    );
    select
      array_agg(verdict) filter (where verdict.outcome = 'resolved'),
      array_agg(verdict) filter (where verdict.outcome = 'resolved_compilation'),
      array_agg(verdict.library_id) filter (where verdict.outcome in ('unresolved', 'compilation'))
    into resolvable, visited, without_identity
    from unnest(judged) as verdict;
    if not is_repair and without_identity is not null then
      overtaken := array(
        select known.library_id
        from wxyc_schema.library_identity as known
        where known.library_id = any (without_identity)
          and known.last_verified_at > apply_identity_verdicts.verified_at
      );
    end if;
  end if;

  settled := identity_sync_private.add_write_results(
    identity_sync_private.write_or_bisect(resolvable, results, stated_origin, verified_at, this_settlement),
    identity_sync_private.write_or_bisect(visited, results, stated_origin, verified_at, this_settlement)
  );

  -- Every result, and every id without one, has exactly one outcome from here on.
  select array_agg(row(concluded.ordinal, concluded.library_id, concluded.outcome)::identity_sync_private.verdict_outcome)
  into outcomes
  from (
    select
      verdict.ordinal,
      verdict.library_id,
      case
        when verdict.outcome in ('resolved', 'resolved_compilation') then
          case
            when verdict.library_id = any (settled.manual_precedence) then 'manual_precedence'
            when verdict.library_id = any (settled.stale_verdict) then 'stale_verdict'
            when verdict.library_id = any (settled.library_gone) then 'library_gone'
            when exists (
              select from unnest(settled.refused) as refusal where refusal.library_id = verdict.library_id
            )
            then 'writer_error'
            else verdict.outcome
          end
        when verdict.outcome in ('unresolved', 'compilation') and verdict.library_id = any (overtaken)
        then 'stale_verdict'
        else verdict.outcome
      end as outcome
    from unnest(judged) as verdict
    union all
    select null, unanswered.id, 'lml_error'
    from unnest(case when results is null then requested_ids end) as unanswered (id)
  ) as concluded;

  -- A shed is measured on rows that held an identity or were never asked before.
  select
    count(*),
    coalesce(array_agg(reached.library_id) filter (where reached.outcome = 'unresolved'), '{}')
  into brake_sample, brake_unresolved_ids
  from unnest(outcomes) as reached
  where reached.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved')
    and reached.library_id <> all (asked_in_vain);

  perform identity_sync_private.record_attempts(outcomes, verified_at, is_repair, this_settlement);

  report := identity_sync_private.build_report(outcomes, judged, settled);

  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, brake_sample, brake_unresolved_ids
  )
  overriding system value
  values (
    this_settlement, stated_origin, verified_at,
    coalesce(cardinality(requested_ids), cardinality(outcomes), 0),
    case when requested_ids is null then 0 else coalesce(cardinality(outcomes), 0) - cardinality(requested_ids) end,
    report, settled.inserted, settled.history_ids,
    settled.linked_credit_ids, settled.positioned_credit_ids, brake_sample, brake_unresolved_ids
  );

  perform identity_sync_private.quarantine_verdicts(
    outcomes, results, set_aside, tracks_contract_version, settled.refused, stated_origin, verified_at, strict_bands,
    this_settlement
  );

  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; and whether a confidence outside its method''s band refuses its verdict. Returns the report as jsonb. Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58.';
