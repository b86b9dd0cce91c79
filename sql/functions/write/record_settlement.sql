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
  unknown_names text[],
  renamed_ids integer[],
  run_id bigint,
  batch_id bigint,
  is_answer boolean
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
-- The planner expects a tenth of the verdicts that come, and would compare each with each.
set enable_nestloop = off
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
          from identity_sync.settlement as doubted
          where doubted.run_id = any (array(select run.run_id from identity_sync.run where run.braked_by = 'changed'))
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
    settlement_id, run_id, batch_id, is_answer, origin, verified_at, requested, unrequested, report, unknown_names,
    inserted_ids, history_ids, linked_credit_ids, positioned_credit_ids, written_by,
    unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen
  )
  overriding system value
  values (
    record_settlement.settlement_id, record_settlement.run_id, record_settlement.batch_id,
    record_settlement.is_answer, record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report, coalesce(record_settlement.unknown_names, '{}'),
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
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, text[],
  integer[], bigint, bigint, boolean
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, text[],
  integer[], bigint, bigint, boolean
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, the report, what LML named that is unknown (NULL: not looked for), the ids that were renamed since they were asked last, the run and the batch (NULL: a call by hand) that it belongs to, and whether LML was asked; records them.';
