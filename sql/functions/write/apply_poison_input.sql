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
