-- What a replay has refused again keeps the run of its first refusal. The entry of which it came was closed in this
-- transaction. Each branch is one lookup in an index, where "or" would look through all that was ever replayed.
create or replace function identity_sync_private.replayed_settlement(
  library_id integer,
  origin text,
  verified_at timestamptz
)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select coalesce(entry.first_settlement_id, entry.settlement_id)
    from (
      select named.*
      from identity_sync.quarantined_verdict as named
      where named.library_id = replayed_settlement.library_id and named.closed_reason = 'replayed'
      union all
      select nameless.*
      from identity_sync.quarantined_verdict as nameless
      where replayed_settlement.library_id is null
        and nameless.library_id is null
        and nameless.closed_reason = 'replayed'
    ) as entry
    where entry.verified_at = replayed_settlement.verified_at
      and entry.origin = replayed_settlement.origin
      and entry.closed_at >= transaction_timestamp()
    limit 1
  );
end;
$$;

revoke all on function identity_sync_private.replayed_settlement(integer, text, timestamptz) from public;

comment on function identity_sync_private.replayed_settlement(integer, text, timestamptz) is
  'Takes a library (NULL: a verdict without one) and the origin and time of its answer; returns the settlement that refused it first, where this transaction replays it, or NULL.';
