-- Settles a batch with the answer that came for it: applied in a real run, rehearsed in a dry one, whose answer is kept
-- so that exactly it can be applied later. The settlement is then known to belong to this batch and its run. A row that
-- had lost its artist name when the request was made was not asked, and counts nowhere.
create or replace function identity_sync.close_identity_batch(batch_id bigint, answer jsonb, body text default null)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  came_at constant timestamptz := clock_timestamp();
  service constant text := 'consumer:lml-bulk';
  results constant jsonb := identity_sync.identity_results(answer);
  asked record;
  report jsonb;
begin
  select batch.library_ids, batch.run_id, run.dry_run, run.strict_bands
  into strict asked
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = close_identity_batch.batch_id;

  if jsonb_array_length(results) < cardinality(asked.library_ids) then
    asked.library_ids := array(
      select named.id
      from unnest(asked.library_ids) as named (id)
      left join wxyc_schema.library on library.id = named.id
      where library.id is null
        or not identity_sync.is_blank(library.artist_name)
        or results @> jsonb_build_array(jsonb_build_object('library_id', named.id))
    );
  end if;

  if asked.dry_run then
    report := identity_sync.rehearse_identity_verdicts(
      answer, asked.library_ids, service, came_at, asked.strict_bands
    );
    insert into identity_sync.settlement (rehearsal, origin, verified_at, asked, unasked, report)
    values (
      true, service, came_at, cardinality(asked.library_ids),
      (report ->> 'scanned')::integer - cardinality(asked.library_ids), report
    );
  else
    perform identity_sync.apply_identity_verdicts(
      answer, asked.library_ids, service, came_at, asked.strict_bands
    );
  end if;

  update identity_sync.settlement
  set run_id = asked.run_id, batch_id = close_identity_batch.batch_id
  where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');

  update identity_sync.batch
  set
    state = 'settled',
    library_ids = asked.library_ids,
    holder = null,
    leased_until = null,
    answer = case when asked.dry_run then body end,
    answered_at = came_at,
    closed_at = clock_timestamp()
  where batch.batch_id = close_identity_batch.batch_id;
end;
$$;

revoke all on function identity_sync.close_identity_batch(bigint, jsonb, text) from public;

comment on function identity_sync.close_identity_batch(bigint, jsonb, text) is
  'Takes a batch, LML''s answer for it and the answer''s text (kept for a dry run); applies or rehearses it and closes the batch.';
