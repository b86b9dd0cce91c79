-- Judges and applies again what is in quarantine, each entry with its own origin, time and strictness: after a rule or a
-- constraint has changed. What is refused again goes back in; a poison input becomes due instead, since there is no
-- verdict to replay; an entry that nobody had asked for is never replayed.
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
    left join identity_sync.settlement on settlement.settlement_id = refused.settlement_id
    where refused.closed_at is null
      and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
    order by refused.library_id, refused.quarantine_id
  loop
    if entry.outcome = 'lml_untrusted_library_id' then
      left_alone := left_alone + 1;
      continue;
    end if;

    if entry.outcome = 'poison_input' then
      insert into identity_sync.attempt as known (library_id, outcome, attempted_at)
      values (entry.library_id, 'released', clock_timestamp())
      on conflict (library_id) do update
      set outcome = excluded.outcome, attempted_at = excluded.attempted_at;
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
  'Takes a run (NULL: all); replays its open quarantine and returns the report of that, with the entries replayed, made due, and never replayed (untrusted).';
