-- Makes the marks and the quarantine of the rows that a gauge counted what they were before these answers, so that the
-- rows are due. A mark or an entry that anybody has changed since stays as it is.
create or replace function identity_sync_private.take_back_marks(settlement_ids bigint[], gauge text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  memory record;
  lifted_ids integer[];
  closed_ids integer[];
  untouched_ids integer[];
begin
  for memory in
    select
      kept.settlement_id,
      kept.attempts_before,
      settlement.verified_at,
      case gauge
        when 'unresolved' then kept.unresolved_ids
        when 'refused' then kept.refused_ids
        else kept.changed_ids
      end as library_ids
    from identity_sync.brake_memory as kept
    join identity_sync.settlement on settlement.settlement_id = kept.settlement_id
    where kept.settlement_id = any (settlement_ids)
    order by kept.settlement_id
  loop
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    select coalesce(array_agg(lifted.library_id), '{}')
    into lifted_ids
    from lifted;

    -- A row that loses its mark has got no answer that counts, so it forgets what it was asked by.
    update identity_sync.asked_as
    set fingerprint = null
    where asked_as.library_id = any (lifted_ids)
      -- The mark of an identity is its own time, which stays with what was written.
      or gauge = 'changed' and asked_as.library_id = any (memory.library_ids);

    with closed as (
      update identity_sync.quarantined_verdict as entry
      set closed_at = clock_timestamp(), closed_reason = 'taken back by the brake'
      where entry.settlement_id = memory.settlement_id
        and entry.closed_at is null
        and entry.outcome in ('invalid_verdict', 'writer_error')
        and (entry.library_id = any (memory.library_ids) or entry.library_id is null and gauge = 'refused')
      returning entry.library_id
    )
    select coalesce(array_agg(closed.library_id), '{}')
    into closed_ids
    from closed;

    -- A later answer has lifted or closed the other rows' by right.
    untouched_ids := lifted_ids || closed_ids || array(
      select known.library_id
      from wxyc_schema.library_identity as known
      where known.library_id = any (memory.library_ids) and known.last_verified_at = memory.verified_at
    );

    insert into identity_sync.attempt
    select before.*
    from jsonb_populate_recordset(null::identity_sync.attempt, memory.attempts_before) as before
    where before.library_id = any (memory.library_ids)
      and before.library_id = any (untouched_ids)
    order by before.library_id
    on conflict (library_id) do nothing;

    update identity_sync.quarantined_verdict as entry
    set closed_at = null, closed_reason = null, closed_by = null
    where entry.closed_by = memory.settlement_id
      and entry.library_id = any (memory.library_ids)
      and entry.library_id = any (untouched_ids)
      and not exists (
        select
        from identity_sync.quarantined_verdict as newer
        where newer.library_id = entry.library_id and newer.closed_at is null
      );
  end loop;
end;
$$;

revoke all on function identity_sync_private.take_back_marks(bigint[], text) from public;

comment on function identity_sync_private.take_back_marks(bigint[], text) is
  'Takes settlements and the gauge that counted their rows (unresolved, refused, changed); restores the attempts of these rows, closes the quarantine entries they made and opens those they closed.';
