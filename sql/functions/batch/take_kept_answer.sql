-- Gives a lane the next answer of its run that is kept and due again. It needs no call, so neither a pause nor a stop
-- of the run holds it up.
create or replace function identity_sync_private.take_kept_answer(
  run_id bigint,
  leased_by text,
  leased_until timestamptz
)
returns table (batch_id bigint, inputs integer)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set leased_by = take_kept_answer.leased_by, leased_until = take_kept_answer.leased_until, not_before = null
  where batch.batch_id = (
    select kept.batch_id
    from identity_sync.batch as kept
    where kept.run_id = take_kept_answer.run_id
      and kept.closed_at is null
      and kept.state = 'answered'
      and kept.answer is not null
      and kept.leased_by is null
      and coalesce(kept.not_before <= clock_timestamp(), true)
    order by kept.batch_id
    limit 1
    for no key update skip locked
  )
  returning batch.batch_id, cardinality(batch.library_ids);
$$;

revoke all on function identity_sync_private.take_kept_answer(bigint, text, timestamptz) from public;

comment on function identity_sync_private.take_kept_answer(bigint, text, timestamptz) is
  'Takes a run, the lane''s name and the end of its lease; returns the batch whose kept answer the lane is to hand over, or no row.';
