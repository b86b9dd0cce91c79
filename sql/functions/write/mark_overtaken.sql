-- An answer that is older than the identity which is there, or than the library's last release, says nothing about it,
-- whatever it says: stale_verdict. Of a verdict that writes an identity the writer compares the age itself, because a
-- row that another writer changes meanwhile is looked at again there.
create or replace function identity_sync_private.mark_overtaken(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  writing constant text[] := array['resolved', 'resolved_compilation'];
  judged constant text[] := writing || array['unresolved', 'compilation', 'invalid_verdict', 'poison_input'];
  ids integer[];
  other_ids integer[];
  held_ids integer[];
  overtaken_ids integer[];
begin
  if verdicts is null then
    return null;
  end if;

  select
    array_agg(verdict.library_id),
    array_agg(verdict.library_id) filter (where verdict.outcome <> all (writing))
  into ids, other_ids
  from unnest(verdicts) as verdict
  where verdict.outcome = any (judged) and verdict.library_id is not null;

  -- An identity that is held says so itself.
  held_ids := array(
    select attempt.library_id
    from identity_sync.attempt
    where attempt.library_id = any (ids) and attempt.released_at is not null and attempt.outcome = 'held'
  );
  overtaken_ids := array(
    select attempt.library_id
    from identity_sync.attempt
    where attempt.library_id = any (ids)
      and attempt.released_at > mark_overtaken.verified_at
      and identity_sync_private.is_plausible_time(attempt.released_at)
    union
    select known.library_id
    from wxyc_schema.library_identity as known
    where known.library_id = any (other_ids)
      and known.last_verified_at > mark_overtaken.verified_at
      and identity_sync_private.is_plausible_time(known.last_verified_at)
  );
  if cardinality(overtaken_ids) + cardinality(held_ids) = 0 then
    return verdicts;
  end if;

  return array(
    select
      case
        when verdict.outcome <> all (judged) then verdict
        when verdict.library_id = any (held_ids)
        then identity_sync_private.conclude_verdict(verdict, 'manual_precedence')
        when verdict.library_id = any (overtaken_ids)
        then identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
        else verdict
      end
    from unnest(verdicts) as verdict
  );
end;
$$;

revoke all on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) from public;

comment on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) is
  'Takes the service''s judged verdicts and their time; returns them, those that are overtaken as stale_verdict and those held as manual_precedence.';
