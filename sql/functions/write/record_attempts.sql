-- Leaves the durable mark of every answer that left no fresh identity, and lifts the mark of every library that got one.
-- A mark that is newer than this answer stays, whichever way round the two arrive.
create or replace function identity_sync_private.record_attempts(
  outcomes identity_sync_private.verdict_outcome[],
  verified_at timestamptz,
  is_repair boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  in_vain constant text[] := array[
    'unresolved', 'compilation', 'resolved_compilation', 'invalid_verdict', 'writer_error', 'manual_precedence'
  ];
begin
  if exists (select from unnest(outcomes) as reached where reached.outcome = any (in_vain)) then
    insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id)
    select
      reached.library_id,
      -- Its tracks were visited or not: either way LML has no more to say before the retry window is over.
      case reached.outcome when 'resolved_compilation' then 'compilation' else reached.outcome end,
      record_attempts.verified_at,
      record_attempts.settlement_id
    from unnest(outcomes) as reached
    where reached.outcome = any (in_vain) and reached.library_id is not null
    order by reached.library_id
    on conflict (library_id) do update
    set
      outcome = excluded.outcome,
      attempted_at = excluded.attempted_at,
      settlement_id = excluded.settlement_id
    where known.attempted_at <= excluded.attempted_at or record_attempts.is_repair;
  end if;

  delete from identity_sync.attempt as known
  where known.library_id = any (
      array(select reached.library_id from unnest(outcomes) as reached where reached.outcome = 'resolved')
    )
    and (known.attempted_at <= record_attempts.verified_at or record_attempts.is_repair);
end;
$$;

revoke all on function identity_sync_private.record_attempts(identity_sync_private.verdict_outcome[], timestamptz, boolean, bigint) from public;

comment on function identity_sync_private.record_attempts(identity_sync_private.verdict_outcome[], timestamptz, boolean, bigint) is
  'Takes the outcomes of a settlement, the time of the answer, and whether a repair by hand overrides newer marks; writes and lifts attempts.';
