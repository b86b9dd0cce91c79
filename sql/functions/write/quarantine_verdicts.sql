-- Sets aside what was refused, as it came and with the reason in words, and closes the entries of libraries that have
-- been settled since. A library has one open entry, its latest refusal; one that LML named without being asked never
-- pushes out a refusal that can be replayed. Where nothing was refused or open, nothing is written.
create or replace function identity_sync_private.quarantine_verdicts(
  outcomes identity_sync_private.verdict_outcome[],
  results jsonb,
  set_aside jsonb,
  tracks_contract_version jsonb,
  refused identity_sync_private.writer_refusal[],
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
    closed_reason = format('%s by settlement %s', reached.outcome, quarantine_verdicts.settlement_id)
  from unnest(outcomes) as reached
  where reached.outcome in ('resolved', 'resolved_compilation', 'unresolved', 'compilation', 'library_gone')
    and entry.library_id = reached.library_id
    and entry.closed_at is null
    and (entry.verified_at <= quarantine_verdicts.verified_at or starts_with(quarantine_verdicts.origin, 'repair:'));

  for refusal in
    select
      reached.library_id,
      reached.outcome,
      listed.verdict,
      listed.aside,
      fault.path,
      fault.value,
      fault.reason,
      by_database.sqlstate,
      by_database.message,
      by_database.constraint_name,
      exists (
        select from identity_sync.quarantined_verdict as entry
        where entry.library_id = reached.library_id
          and entry.closed_at is null
          and entry.outcome <> 'lml_untrusted_library_id'
          and reached.outcome = 'lml_untrusted_library_id'
      ) as is_outranked
    from unnest(outcomes) as reached
    cross join lateral (
      select results -> (reached.ordinal - 1) as verdict, set_aside -> reached.ordinal::text as aside
    ) as listed
    left join unnest(refused) as by_database
      on by_database.library_id = reached.library_id and reached.outcome = 'writer_error'
    cross join lateral (
      select
        case
          when reached.outcome = 'invalid_verdict' and listed.aside is not null then row(
            listed.aside ->> 'path',
            null,
            format(
              '%s holds text that PostgreSQL cannot store: %s',
              coalesce(nullif(listed.aside ->> 'path', ''), 'the verdict'), listed.aside ->> 'fault'
            )
          )::identity_sync_private.refusal
          when reached.outcome = 'invalid_verdict' then identity_sync_private.explain_refusal(listed.verdict, strict_bands)
          when reached.outcome = 'lml_untrusted_library_id' then row(
            'library_id',
            to_jsonb(reached.library_id),
            format('library_id %s was not asked, or is named for the second time', reached.library_id)
          )::identity_sync_private.refusal
          when reached.outcome = 'writer_error' then row(
            null, null, format('the database refused it: %s', by_database.message)
          )::identity_sync_private.refusal
        end as found
    ) as explained
    cross join lateral (
      select (explained.found).path, (explained.found).value, (explained.found).reason
    ) as fault
    where reached.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
    order by reached.outcome <> 'lml_untrusted_library_id', reached.ordinal
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
  identity_sync_private.verdict_outcome[], jsonb, jsonb, jsonb, identity_sync_private.writer_refusal[], text, timestamptz, boolean,
  bigint
) from public;

comment on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.verdict_outcome[], jsonb, jsonb, jsonb, identity_sync_private.writer_refusal[], text, timestamptz, boolean,
  bigint
) is
  'Takes the outcomes of a settlement, LML''s results, those set aside by their number, the tracks_contract_version they came with, what the database refused, and the settlement''s origin, time and strictness; writes and closes quarantine entries.';
