-- The brake: an overloaded LML answers 200 with everything unresolved, and believing it would keep the rows from being
-- due for a month. It measures the latest answers that together hold 1,000 rows which held an identity or had never
-- been requested, so it works alike for any batch size; rows long known as unresolved may all fall due on one day. It
-- stops the run, takes the counted rows' attempts back, and holds planning.
create or replace function identity_sync_private.brake_identity_run(run_id bigint, batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  suspects bigint[];
  answers bigint;
  brake_sample bigint;
  unresolved_share numeric;
  usual_share numeric;
begin
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = brake_identity_run.run_id;

  if this_run.dry_run or this_run.accept_unresolved or this_run.scope in ('recheck', 'ids') then
    return;
  end if;

  if this_run.braked_at is not null then
    -- This answer was in flight when the run stopped; its attempts are taken back too.
    suspects := array(
      select settlement.settlement_id from identity_sync.settlement
      where settlement.batch_id = brake_identity_run.batch_id
    );
  else
    select
      array_agg(latest.settlement_id),
      count(*),
      sum(latest.brake_sample),
      sum(latest.unresolved) / sum(latest.brake_sample)
    into suspects, answers, brake_sample, unresolved_share
    from (
      select
        answer.*,
        sum(answer.brake_sample) over (order by answer.settlement_id desc) - answer.brake_sample as newer_rows
      from (
        select
          settlement.settlement_id,
          settlement.brake_sample,
          cardinality(settlement.brake_unresolved_ids)::numeric as unresolved
        from identity_sync.settlement
        where settlement.run_id = brake_identity_run.run_id and settlement.brake_sample > 0
        order by settlement.settlement_id desc
        -- Each holds a row at least.
        limit 1000
      ) as answer
    ) as latest
    where latest.newer_rows < 1000;

    if answers < 3 or brake_sample < 200 or unresolved_share < 0.95 then
      return;
    end if;

    select sum(cardinality(settlement.brake_unresolved_ids))::numeric / nullif(sum(settlement.brake_sample), 0)
    into usual_share
    from identity_sync.settlement
    join identity_sync.run on run.run_id = settlement.run_id
    where settlement.run_id < brake_identity_run.run_id and not settlement.dry_run and run.braked_at is null;

    if unresolved_share < usual_share + 0.20 then
      return;
    end if;
  end if;

  delete from identity_sync.attempt
  using identity_sync.settlement
  where settlement.settlement_id = any (suspects)
    and attempt.library_id = any (settlement.brake_unresolved_ids)
    and attempt.settlement_id = settlement.settlement_id;

  -- No answer that counts was given to their question.
  update identity_sync.asked_as
  set fingerprint = null
  from identity_sync.settlement
  where settlement.settlement_id = any (suspects) and asked_as.library_id = any (settlement.brake_unresolved_ids);

  if this_run.braked_at is null then
    update identity_sync.run set braked_at = clock_timestamp() where run.run_id = brake_identity_run.run_id;

    insert into identity_sync.planning_hold as hold (name, reason, run_id)
    values (
      'brake',
      format('%s %% of %s rows came back unresolved in run %s: LML seems to be overloaded',
        round(unresolved_share * 100), brake_sample, run_id),
      brake_identity_run.run_id
    )
    on conflict (name) do nothing;

    perform identity_sync.stop_identity_run(
      run_id,
      format('%s %% of the last %s rows came back unresolved: LML seems to be overloaded. Their marks were taken back. '
        'Where the answers are right all the same: identity-sync run --accept-unresolved',
        round(unresolved_share * 100), brake_sample),
      cause => 'brake'
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.brake_identity_run(bigint, bigint) from public;

comment on function identity_sync_private.brake_identity_run(bigint, bigint) is
  'Takes a run and its batch just applied; where 95 % of the rows counted (200 or more, of three answers or more) are unresolved, stops the run and takes their attempts back.';
