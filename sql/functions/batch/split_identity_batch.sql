-- Cuts a batch in two, because LML refuses or fails on something in it; the halves come after everything else in the
-- run. Answered parts of the same batch justify further cuts. Without one, after `patience` cuts, LML is at fault and
-- not an input, and all remaining parts fail.
create or replace function identity_sync_private.split_identity_batch(batch_id bigint, reason text, patience integer)
returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  whole identity_sync.batch;
  root bigint;
  half integer;
begin
  select batch.*
  into strict whole
  from identity_sync.batch
  where batch.batch_id = split_identity_batch.batch_id;

  root := coalesce(whole.root_batch_id, whole.batch_id);
  half := cardinality(whole.library_ids) / 2;

  if not identity_sync_private.has_answered_part(root)
    and (
      select count(*) from identity_sync.batch as part where part.root_batch_id = root and part.state = 'split'
    ) >= patience
  then
    perform identity_sync.fail_identity_batch(part.batch_id, reason)
    from identity_sync.batch as part
    where part.root_batch_id = root
      and (part.batch_id = split_identity_batch.batch_id or part.state = 'open');
    return 'failed';
  end if;

  update identity_sync.batch
  set state = 'split', leased_by = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  where batch.batch_id = split_identity_batch.batch_id;

  insert into identity_sync.batch (run_id, cohort, library_ids, root_batch_id)
  values
    (whole.run_id, whole.cohort, whole.library_ids[:half], root),
    (whole.run_id, whole.cohort, whole.library_ids[half + 1:], root);

  return 'split';
end;
$$;

revoke all on function identity_sync_private.split_identity_batch(bigint, text, integer) from public;

comment on function identity_sync_private.split_identity_batch(bigint, text, integer) is
  'Takes a batch of two libraries or more, why it is cut, and how many parts of the same planned batch may be cut before LML answers one; returns split, or failed where the remaining parts were given up.';
