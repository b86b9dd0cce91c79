-- Settles verdicts of one outcome, and where the database refuses, settles their halves, down to the one that it refuses.
-- The good path costs one exception block; a block a verdict would overflow the subtransaction cache.
-- What is no verdict's fault (connection, deadlock, resources, lock timeout, shutdown, disk) is raised again as it came.
create or replace function identity_sync_private.write_or_bisect(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  half constant integer := cardinality(verdicts) / 2;
  refusal identity_sync_private.writer_refusal;
  settled identity_sync_private.write_result;
begin
  if verdicts is null then
    return identity_sync_private.add_write_results(null, null);
  end if;

  for attempt in 1..3 loop
    begin
      if verdicts[1].outcome = 'resolved_compilation' then
        return identity_sync_private.write_track_links(verdicts, results, origin, verified_at, settlement_id);
      end if;
      return identity_sync_private.write_verdicts(verdicts, origin, verified_at, settlement_id);
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
    return identity_sync_private.add_write_results(
      identity_sync_private.write_or_bisect(verdicts[:half], results, origin, verified_at, settlement_id),
      identity_sync_private.write_or_bisect(verdicts[half + 1:], results, origin, verified_at, settlement_id)
    );
  end if;

  settled := identity_sync_private.add_write_results(null, null);
  refusal.library_id := verdicts[1].library_id;
  if exists (select from wxyc_schema.library where library.id = refusal.library_id) then
    settled.refused := array[refusal];
  else
    settled.library_gone := array[refusal.library_id];
  end if;
  return settled;
end;
$$;

revoke all on function identity_sync_private.write_or_bisect(identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint)
from public;

comment on function identity_sync_private.write_or_bisect(identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint) is
  'Takes verdicts of one outcome, or NULL, and LML''s results, in which they find their tracks; returns what write_verdicts or write_track_links does, where what the database refuses comes back with SQLSTATE, message and constraint instead of raising. Raises only SQLSTATE classes 08, 40, 53, 55, 57 and 58.';
