-- Settles verdicts, and where the database refuses, settles their halves, down to the one that it refuses.
-- The good path costs one exception block; a block a verdict would overflow the subtransaction cache.
-- What is no verdict's fault (connection, deadlock, resources, lock timeout, shutdown, disk) is raised again as it came.
create or replace function identity_sync.settle_or_bisect(
  verdicts identity_sync.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync.settled_verdicts
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  half constant integer := cardinality(verdicts) / 2;
  earlier identity_sync.settled_verdicts;
  later identity_sync.settled_verdicts;
  refusal identity_sync.writer_refusal;
  settled identity_sync.settled_verdicts;
begin
  for attempt in 1..3 loop
    begin
      return identity_sync.settle_identity_verdicts(verdicts, origin, verified_at, settlement_id);
    exception
      when others or assert_failure then
        if left(sqlstate, 2) in ('08', '40', '53', '55', '57', '58') then
          raise;
        end if;
        get stacked diagnostics
          refusal.sqlstate = returned_sqlstate,
          refusal.message = message_text,
          refusal.constraint_name = constraint_name;
    end;
    -- Another writer was there first, and is nobody's fault: another look sees what he left.
    exit when refusal.sqlstate not in ('LS006', '23505');
  end loop;

  if half > 0 then
    earlier := identity_sync.settle_or_bisect(verdicts[:half], origin, verified_at, settlement_id);
    later := identity_sync.settle_or_bisect(verdicts[half + 1:], origin, verified_at, settlement_id);
    settled.inserted := earlier.inserted || later.inserted;
    settled.changed := earlier.changed || later.changed;
    settled.unchanged := earlier.unchanged || later.unchanged;
    settled.manual_precedence := earlier.manual_precedence || later.manual_precedence;
    settled.stale_verdict := earlier.stale_verdict || later.stale_verdict;
    settled.library_gone := earlier.library_gone || later.library_gone;
    settled.refused := earlier.refused || later.refused;
    settled.history_ids := earlier.history_ids || later.history_ids;
    settled.source_inserted := earlier.source_inserted + later.source_inserted;
    settled.source_changed := earlier.source_changed + later.source_changed;
    settled.source_unchanged := earlier.source_unchanged + later.source_unchanged;
    settled.source_removed := earlier.source_removed + later.source_removed;
    return settled;
  end if;

  settled := row('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 0, 0, 0, 0)::identity_sync.settled_verdicts;
  refusal.library_id := verdicts[1].library_id;
  if exists (select from wxyc_schema.library where library.id = refusal.library_id) then
    settled.refused := array[refusal];
  else
    settled.library_gone := array[refusal.library_id];
  end if;
  return settled;
end;
$$;

revoke all on function identity_sync.settle_or_bisect(identity_sync.judged_verdict[], text, timestamptz, bigint) from public;

comment on function identity_sync.settle_or_bisect(identity_sync.judged_verdict[], text, timestamptz, bigint) is
  'Takes and returns what settle_identity_verdicts does; what the database refuses comes back with SQLSTATE, message and constraint instead of raising. Raises only SQLSTATE classes 08, 40, 53, 55, 57 and 58.';
