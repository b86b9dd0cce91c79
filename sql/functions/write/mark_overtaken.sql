-- An answer without an identity that is older than the identity which is there says nothing about it: stale_verdict.
-- The writer decides the same for the answers that it writes.
create or replace function identity_sync_private.mark_overtaken(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return array(
    select
      case
        when known.library_id is null then verdict
        else identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
      end
    from unnest(verdicts) as verdict
    left join wxyc_schema.library_identity as known
      on known.library_id = verdict.library_id
      and known.last_verified_at > mark_overtaken.verified_at
      and verdict.outcome in ('unresolved', 'compilation')
  );
end;
$$;

revoke all on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) from public;

comment on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) is
  'Takes judged verdicts that write no identity, and their time; returns them, those that are overtaken as stale_verdict.';
