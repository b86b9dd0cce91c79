-- Judges and applies quarantined verdicts again, after a rule or a constraint has changed: each with its own origin,
-- time and strictness. What is refused again returns to quarantine; a poison input, which has no verdict, becomes due
-- instead; a verdict on an id that was not asked stays where it is.
create or replace function identity_sync.replay_quarantined_verdicts(run_id bigint default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  entry record;
  report jsonb := identity_sync_private.empty_report();
  replayed integer := 0;
  made_due integer := 0;
  left_alone integer := 0;
begin
  perform identity_sync_private.lock_identities(null);

  for entry in
    select refused.*
    from identity_sync.quarantined_verdict as refused
    left join identity_sync.settlement
      on settlement.settlement_id = coalesce(refused.first_settlement_id, refused.settlement_id)
    where refused.closed_at is null
      and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
    order by refused.library_id, refused.quarantine_id
  loop
    if entry.outcome = 'lml_untrusted_library_id' then
      left_alone := left_alone + 1;
      continue;
    end if;

    if entry.outcome = 'poison_input' then
      perform identity_sync_private.replace_attempt(entry.library_id, 'released', clock_timestamp(), null);
      made_due := made_due + 1;
      continue;
    end if;

    update identity_sync.quarantined_verdict
    set closed_at = clock_timestamp(), closed_reason = 'replayed'
    where quarantined_verdict.quarantine_id = entry.quarantine_id;

    report := identity_sync_private.add_reports(
      report,
      identity_sync.apply_identity_response(
        body => coalesce(
          entry.verdict_text,
          jsonb_build_object(
            'results', jsonb_build_array(entry.verdict),
            'tracks_contract_version', entry.tracks_contract_version
          )::text
        ),
        requested => case when entry.library_id is not null then array[entry.library_id] end,
        origin => entry.origin,
        verified_at => entry.verified_at,
        strict_bands => entry.strict_bands
      )
    );
    replayed := replayed + 1;
  end loop;

  return report
    || jsonb_build_object('replayed', replayed, 'made_due', made_due, 'never_replayed', left_alone);
end;
$$;

revoke all on function identity_sync.replay_quarantined_verdicts(bigint) from public;

comment on function identity_sync.replay_quarantined_verdicts(bigint) is
  'Takes a run (NULL: all runs); replays its open quarantine entries and returns their report, with the counts replayed, made_due and never_replayed (untrusted).';
