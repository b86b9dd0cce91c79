-- Writes verdicts of one outcome; where the database refuses, writes their halves, down to the one that it refuses.
-- The good path costs one exception block; a block a verdict would overflow the subtransaction cache.
-- What is no verdict's fault is raised as it came: connection, deadlock, resources, lock timeout, shutdown, disk, and a
-- refusal that all verdicts share (is_shared_refusal).
create or replace function identity_sync_private.write_or_bisect(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  is_part boolean default false
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  half constant integer := cardinality(verdicts) / 2;
  refusal identity_sync_private.writer_refusal;
  refused identity_sync_private.write_result;
begin
  if verdicts is null then
    return null;
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
        if not is_part
          and identity_sync_private.is_shared_refusal(verdicts, results, origin, verified_at, settlement_id, refusal)
        then
          raise;
        end if;
    end;
    -- Another writer was there first, which is no verdict's fault: another look sees what it left.
    exit when refusal.sqlstate not in ('LS006', '23505');
    -- A transaction that keeps its first snapshot never sees it, and would be refused for every verdict.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      raise exception using
        errcode = 'serialization_failure',
        message = format('another session wrote since this transaction began: %s', refusal.message),
        hint = 'Begin again, as a rule with the isolation level read committed.';
    end if;
  end loop;

  if half > 0 then
    return identity_sync_private.add_write_results(
      identity_sync_private.write_or_bisect(verdicts[:half], results, origin, verified_at, settlement_id, true),
      identity_sync_private.write_or_bisect(verdicts[half + 1:], results, origin, verified_at, settlement_id, true)
    );
  end if;

  refused := identity_sync_private.add_write_results(null, null);
  refused.verdicts := array[
    case
      when exists (select from wxyc_schema.library where library.id = verdicts[1].library_id)
      then identity_sync_private.conclude_verdict(verdicts[1], 'writer_error', refusal => refusal)
      else identity_sync_private.conclude_verdict(verdicts[1], 'library_gone')
    end
  ];
  return refused;
end;
$$;

revoke all on function identity_sync_private.write_or_bisect(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, boolean
) from public;

comment on function identity_sync_private.write_or_bisect(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, boolean
) is
  'Takes verdicts of one outcome (NULL returns NULL) and LML''s results, which hold their tracks, and whether they are a part of what was refused; returns what write_verdicts or write_track_links does, where a verdict that the database refuses is a writer_error with SQLSTATE, message and constraint. Raises only SQLSTATE classes 08, 40, 53, 55, 57 and 58, and what is_shared_refusal finds to be no verdict''s fault.';
