-- The brake: what no healthy run shows stops it, since believing LML would freeze rows for a month or write a wrong
-- catalogue. Each gauge is measured in rows, over the latest answers that together hold 1,000 of its own, so that it
-- works alike for any batch size. It stops the run, takes back the marks of the rows counted, and holds planning.
create or replace function identity_sync_private.brake_identity_run(run_id bigint, batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  gauge text;
  suspects bigint[];
  counted bigint;
  share numeric;
  finding text;
begin
  -- Answers of one run are measured one after the other: one that misses the brake by a moment must be taken back.
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = brake_identity_run.run_id
  for no key update;

  if this_run.dry_run or this_run.scope in ('recheck', 'ids') then
    return;
  end if;

  if this_run.braked_by is null then
    select latest.gauge, array_agg(latest.settlement_id), sum(latest.counted), sum(latest.seen) / sum(latest.counted)
    into gauge, suspects, counted, share
    from (
      select
        reading.*,
        answer.settlement_id,
        sum(reading.counted) over (partition by reading.gauge order by answer.settlement_id desc) - reading.counted
          as newer_rows
      from (
        select settlement.*
        from identity_sync.settlement
        where settlement.run_id = brake_identity_run.run_id and settlement.refused_counted > 0
        order by settlement.settlement_id desc
        -- Each holds a row at least.
        limit 1000
      ) as answer
      cross join lateral (
        values
          ('unresolved', 0.95, answer.unresolved_counted, answer.unresolved_seen::numeric),
          ('refused', 0.50, answer.refused_counted, answer.refused_seen),
          ('changed', 0.20, answer.changed_counted, answer.changed_seen)
      ) as reading (gauge, threshold, counted, seen)
      where reading.counted > 0 and reading.gauge <> all (this_run.accept)
    ) as latest
    where latest.newer_rows < 1000
    group by latest.gauge, latest.threshold
    -- Two answers of 500 rows, or one of 1,000, hold all that is measured.
    having sum(latest.counted) >= case when count(*) >= 3 then 200 else 1000 end
      and sum(latest.seen) >= latest.threshold * sum(latest.counted)
      and (
        latest.gauge <> 'unresolved'
        or coalesce(
          sum(latest.seen) / sum(latest.counted)
            >= identity_sync_private.usual_unresolved_share(brake_identity_run.run_id) + 0.20,
          true
        )
      )
    order by latest.gauge
    limit 1;
    if gauge is null then
      return;
    end if;

    update identity_sync.run
    set braked_at = clock_timestamp(), braked_by = gauge
    where run.run_id = brake_identity_run.run_id and run.braked_by is null;
    if found then
      perform identity_sync_private.take_back_marks(suspects, gauge);
      finding := format(
        case gauge
          when 'unresolved' then '%s %% of the last %s rows came back unresolved: LML seems to be overloaded'
          when 'refused' then '%s %% of the last %s verdicts were refused: LML seems to keep another contract'
          else '%s %% of the last %s identities came back as another artist: LML seems to mix its artists up'
        end,
        round(share * 100), counted
      );
      insert into identity_sync.planning_hold as hold (name, reason, run_id, gauge, share)
      values ('brake', format('run %s: %s', run_id, finding), brake_identity_run.run_id, gauge, round(share, 4))
      on conflict (name) do update
      set
        reason = excluded.reason, run_id = excluded.run_id, gauge = excluded.gauge, share = excluded.share,
        since = excluded.since;
      perform identity_sync.stop_identity_run(
        run_id,
        format(
          '%s. Marks and quarantine of these rows are as they were before. To take back what was written: '
            'identity-sync undo --run %s. Where the answers are right: identity-sync run --accept %s',
          finding, run_id, gauge
        ),
        cause => 'brake'
      );
      return;
    end if;
  end if;

  -- This answer was in flight when the run stopped, and its rows are counted too.
  perform identity_sync_private.take_back_marks(
    array(
      select settlement.settlement_id
      from identity_sync.settlement
      where settlement.batch_id = brake_identity_run.batch_id
    ),
    (select run.braked_by from identity_sync.run where run.run_id = brake_identity_run.run_id)
  );
end;
$$;

revoke all on function identity_sync_private.brake_identity_run(bigint, bigint) from public;

comment on function identity_sync_private.brake_identity_run(bigint, bigint) is
  'Takes a run and its batch just applied; where a gauge is at its limit (95 % unresolved, 50 % refused, 20 % of identities another artist; of 1,000 rows, or of 200 in three answers), stops the run, takes back the marks of the rows counted and holds planning.';
