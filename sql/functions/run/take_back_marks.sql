-- Makes the marks and the quarantine of the rows that a gauge counted what they were before these answers, so that the
-- rows are due. A mark or an entry that anybody has changed since stays as it is.
create or replace function identity_sync_private.take_back_marks(settlement_ids bigint[], gauge text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  memory record;
begin
  for memory in
    select
      kept.settlement_id,
      kept.attempts_before,
      case gauge
        when 'unresolved' then kept.unresolved_ids
        when 'refused' then kept.refused_ids
        else kept.changed_ids
      end as library_ids
    from identity_sync.brake_memory as kept
    where kept.settlement_id = any (settlement_ids)
    order by kept.settlement_id
  loop
    -- A row that loses its mark has got no answer that counts, so it forgets what it was asked by.
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    update identity_sync.asked_as
    set fingerprint = null
    where asked_as.library_id in (
      select lifted.library_id
      from lifted
      union all
      -- The mark of an identity is its own time, which stays with what was written.
      select unnest(memory.library_ids)
      where gauge = 'changed'
    );

    insert into identity_sync.attempt
    select before.*
    from jsonb_populate_recordset(null::identity_sync.attempt, memory.attempts_before) as before
    where before.library_id = any (memory.library_ids)
    order by before.library_id
    on conflict (library_id) do nothing;

    update identity_sync.quarantined_verdict as entry
    set closed_at = clock_timestamp(), closed_reason = 'taken back by the brake'
    where entry.settlement_id = memory.settlement_id
      and entry.closed_at is null
      and entry.outcome in ('invalid_verdict', 'writer_error')
      and (entry.library_id = any (memory.library_ids) or entry.library_id is null and gauge = 'refused');

    update identity_sync.quarantined_verdict as entry
    set closed_at = null, closed_reason = null, closed_by = null
    where entry.closed_by = memory.settlement_id
      and entry.library_id = any (memory.library_ids)
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
