-- The settlement of a batch that got no answer: each of its rows counts once, under the one reason that it shares with
-- the others, so that a run's report adds up also where LML failed. A library that is gone counts as that.
create or replace function identity_sync_private.record_unanswered_batch(batch_id bigint, counted_as text)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.settlement (
    run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report
  )
  select
    batch.run_id, batch.batch_id, run.dry_run, false, identity_sync_private.service_origin(), clock_timestamp(),
    counted.rows, 0,
    jsonb_set(
      jsonb_set(
        jsonb_set(identity_sync_private.empty_report(), '{scanned}', to_jsonb(counted.rows)),
        '{rows_skipped,library_gone}',
        to_jsonb(counted.gone)
      ),
      array['rows_skipped', record_unanswered_batch.counted_as],
      to_jsonb(counted.rows - counted.gone)
    )
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  cross join lateral (
    select count(*)::integer as rows, (count(*) filter (where library.id is null))::integer as gone
    from unnest(batch.library_ids) as named (id)
    left join wxyc_schema.library on library.id = named.id
  ) as counted
  where batch.batch_id = record_unanswered_batch.batch_id
  returning settlement.settlement_id;
$$;

revoke all on function identity_sync_private.record_unanswered_batch(bigint, text) from public;

comment on function identity_sync_private.record_unanswered_batch(bigint, text) is
  'Takes a batch and the key of rows_skipped that its rows count as; returns the id of the settlement made for it.';
