-- Keeps an attempt for every answer that left no fresh identity, and removes that of every library that got one.
-- An attempt newer than this answer stays, in whichever order the two arrive. No attempt replaces a hold, no refusal a
-- release, and that of a repair, as a rule a typing mistake, is no attempt.
create or replace function identity_sync_private.record_attempts(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz,
  is_repair boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  refused constant text[] := array['invalid_verdict', 'writer_error'];
  kept constant text[] := array['unresolved', 'compilation', 'resolved_compilation', 'manual_precedence']
    || case when is_repair then '{}'::text[] else refused end;
begin
  if exists (select from unnest(verdicts) as verdict where verdict.outcome = any (kept)) then
    insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id)
    select
      verdict.library_id,
      -- Its tracks were visited or not: either way LML has no more to say before the retry window is over, unless it
      -- has linked them before, and so could not read its store.
      case
        when verdict.outcome = 'resolved_compilation' then 'compilation'
        when verdict.outcome = 'compilation'
          and exists (
            select
            from wxyc_schema.compilation_track_artist as credit
            where credit.library_id = verdict.library_id and credit.track_artist_link_method <> 'librarian'
          )
        then 'compilation_unread'
        else verdict.outcome
      end,
      record_attempts.verified_at,
      record_attempts.settlement_id
    from unnest(verdicts) as verdict
    where verdict.outcome = any (kept)
      and verdict.library_id is not null
      -- A row set by hand holds against older answers too, but only a newer one is an attempt.
      and case verdict.outcome
        when 'manual_precedence' then (
          select
            held.last_verified_at <= record_attempts.verified_at
            or not identity_sync_private.is_plausible_time(held.last_verified_at)
          from wxyc_schema.library_identity as held
          where held.library_id = verdict.library_id
        )
        else true
      end
    order by verdict.library_id
    on conflict (library_id) do update
    set
      outcome = excluded.outcome,
      attempted_at = excluded.attempted_at,
      settlement_id = excluded.settlement_id
    where (
        known.attempted_at <= excluded.attempted_at
        or record_attempts.is_repair
        or not identity_sync_private.is_plausible_time(known.attempted_at)
      )
      and known.outcome <> 'held'
      and not (known.outcome = 'released' and excluded.outcome = any (refused));
  end if;

  delete from identity_sync.attempt as known
  where known.library_id = any (
      array(select verdict.library_id from unnest(verdicts) as verdict where verdict.outcome = 'resolved')
    )
    and (
      known.attempted_at <= record_attempts.verified_at
      or record_attempts.is_repair
      or not identity_sync_private.is_plausible_time(known.attempted_at)
    );
end;
$$;

revoke all on function identity_sync_private.record_attempts(
  identity_sync_private.judged_verdict[], timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.record_attempts(
  identity_sync_private.judged_verdict[], timestamptz, boolean, bigint
) is
  'Takes verdicts with their final outcomes, the time of the answer, whether a repair by hand overrides newer attempts, and the settlement; keeps and removes attempts.';
