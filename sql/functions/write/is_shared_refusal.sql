-- A column that is gone, a trigger that cannot run or a read-only transaction refuses every verdict alike: that is no
-- verdict's fault, and none is charged with it. A dozen verdicts out of the whole batch are tried alone, which is
-- cheaper than 1,000 tries of a bisection; what they write is undone.
create or replace function identity_sync_private.is_shared_refusal(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  refusal identity_sync_private.writer_refusal
)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  size constant integer := cardinality(verdicts);
  class constant text := left(refusal.sqlstate, 2);
  single identity_sync_private.judged_verdict[];
  found_message text;
begin
  -- A verdict alone that exceeds a limit of the program is itself too long for an index.
  if class not in ('0A', '25', '42', '54', 'XX') or (class = '54' and size = 1) then
    return false;
  end if;
  -- Steps of the golden section reach all parts of a batch, and fall in with no pattern of its rows.
  for step in 0..least(size, 12) - 1 loop
    exit when size = 1;
    single := array[verdicts[1 + floor(size * (step * 0.6180339887 - floor(step * 0.6180339887)))::integer]];
    begin
      if single[1].outcome = 'resolved_compilation' then
        perform identity_sync_private.write_track_links(single, results, origin, verified_at, settlement_id);
      else
        perform identity_sync_private.write_verdicts(single, origin, verified_at, settlement_id);
      end if;
      raise exception using errcode = 'LS007', message = 'the try is over, and undone';
    exception
      when others or assert_failure then
        get stacked diagnostics found_message = message_text;
        if (sqlstate, found_message) is distinct from (refusal.sqlstate, refusal.message) then
          return false;
        end if;
    end;
  end loop;
  return true;
end;
$$;

revoke all on function identity_sync_private.is_shared_refusal(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, identity_sync_private.writer_refusal
) from public;

comment on function identity_sync_private.is_shared_refusal(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, identity_sync_private.writer_refusal
) is
  'Takes what write_or_bisect takes, and why the database refused it; returns whether the database refuses each of a dozen of these verdicts alone with the same words, of SQLSTATE class 0A, 25, 42, 54 or XX.';
