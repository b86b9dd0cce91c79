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
as $$
declare
  refusal record;
begin
  update identity_sync.quarantined_verdict as entry
  set
    closed_at = clock_timestamp(),
    closed_reason = format('%s by settlement %s', judged.outcome, quarantine_verdicts.settlement_id)
  from unnest(verdicts) as judged
  where judged.outcome in ('resolved', 'resolved_compilation', 'unresolved', 'compilation', 'library_gone')
    and entry.library_id = judged.library_id
    and entry.closed_at is null
    and (
      entry.verified_at <= quarantine_verdicts.verified_at
      or identity_sync_private.is_repair(quarantine_verdicts.origin)
    );

  for refusal in
    select
      judged.library_id,
      judged.outcome,
      listed.verdict,
      listed.aside,
      fault.path,
      fault.value,
      fault.reason,
      (judged.refusal).sqlstate,
      (judged.refusal).message,
      (judged.refusal).constraint_name,
      exists (
        select from identity_sync.quarantined_verdict as entry
        where entry.library_id = judged.library_id
          and entry.closed_at is null
          and entry.outcome <> 'lml_untrusted_library_id'
          and judged.outcome = 'lml_untrusted_library_id'
      ) as is_outranked
    from unnest(verdicts) as judged
    cross join lateral (
      select results -> (judged.ordinal - 1) as verdict, set_aside -> judged.ordinal::text as aside
    ) as listed
    cross join lateral (
      select
        case
          when judged.outcome = 'invalid_verdict' and listed.aside is not null then row(
            listed.aside ->> 'path',
            null,
            format(
              '%s holds text that PostgreSQL cannot store: %s',
              coalesce(nullif(listed.aside ->> 'path', ''), 'the verdict'), listed.aside ->> 'fault'
            )
          )::identity_sync_private.refusal
          when judged.outcome = 'invalid_verdict'
          then identity_sync_private.explain_refusal(listed.verdict, strict_bands)
          when judged.outcome = 'lml_untrusted_library_id' then row(
            'library_id',
            to_jsonb(judged.library_id),
            format('library_id %s was not asked, or is named for the second time', judged.library_id)
          )::identity_sync_private.refusal
          when judged.outcome = 'writer_error' then row(
            null, null, format('the database refused it: %s', (judged.refusal).message)
          )::identity_sync_private.refusal
        end as found
    ) as explained
    cross join lateral (
      select (explained.found).path, (explained.found).value, (explained.found).reason
    ) as fault
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
    order by judged.outcome <> 'lml_untrusted_library_id', judged.ordinal
  loop
    if not refusal.is_outranked then
      update identity_sync.quarantined_verdict as entry
      set
        closed_at = clock_timestamp(),
        closed_reason = format('a later refusal, settlement %s', quarantine_verdicts.settlement_id)
      where entry.library_id = refusal.library_id and entry.closed_at is null;
    end if;

    insert into identity_sync.quarantined_verdict (
      settlement_id, library_id, outcome, reason, path, value, sqlstate, message, constraint_name,
      verdict, verdict_text, tracks_contract_version, origin, verified_at, strict_bands, closed_at, closed_reason
    )
    values (
      quarantine_verdicts.settlement_id, refusal.library_id, refusal.outcome,
      coalesce(refusal.reason, 'the verdict breaks the wire contract'),
      refusal.path, refusal.value, refusal.sqlstate, refusal.message, nullif(refusal.constraint_name, ''),
      case when refusal.aside is null then refusal.verdict end,
      refusal.aside ->> 'unreadable',
      quarantine_verdicts.tracks_contract_version, quarantine_verdicts.origin, quarantine_verdicts.verified_at,
      quarantine_verdicts.strict_bands,
      case when refusal.is_outranked then clock_timestamp() end,
      case when refusal.is_outranked then 'nobody asked for it, and a refusal that can be replayed is open' end
    );
  end loop;
end;
$$;

revoke all on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) is
  'Takes verdicts with their final outcomes, LML''s results, those set aside by their number, the tracks_contract_version they came with, and the settlement''s origin, time, strictness and id; writes and closes quarantine entries.';
