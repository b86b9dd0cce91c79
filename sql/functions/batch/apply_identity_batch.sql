-- Writes LML's answer for a batch and closes the batch. A dry run rolls the writing back and keeps the answer's text,
-- so that exactly this answer can be applied later. A row that was left out of the request, since it had no artist
-- name, counts nowhere.
create or replace function identity_sync_private.apply_identity_batch(
  batch_id bigint,
  answer jsonb,
  body text default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  came_at timestamptz;
  service constant text := identity_sync_private.service_origin();
  this_batch record;
  settled jsonb;
begin
  select batch.library_ids, batch.asked_as, batch.run_id, batch.answered_at, run.dry_run, run.strict_bands
  into strict this_batch
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = apply_identity_batch.batch_id;

  -- A kept answer is as old as its call.
  came_at := coalesce(this_batch.answered_at, clock_timestamp());

  -- What the request left out, unless it was because the row is gone.
  if array_position(this_batch.asked_as, null) is not null then
    select coalesce(array_agg(named.id), '{}'), coalesce(array_agg(named.fingerprint), '{}')
    into this_batch.library_ids, this_batch.asked_as
    from unnest(this_batch.library_ids, this_batch.asked_as) as named (id, fingerprint)
    where named.fingerprint is not null
      or not exists (select from wxyc_schema.library where library.id = named.id);
  end if;

  if this_batch.dry_run then
    settled := identity_sync_private.rehearse_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as
    );
    insert into identity_sync.settlement (
      run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report, unknown_names
    )
    values (
      this_batch.run_id, apply_identity_batch.batch_id, true, body is not null, service, came_at,
      cardinality(this_batch.library_ids),
      (settled ->> 'scanned')::integer - cardinality(this_batch.library_ids), settled,
      identity_sync_private.unknown_names(
        identity_sync_private.results_of(answer), settled ->> 'source_rows_unknown' <> '0'
      )
    );
  else
    settled := identity_sync_private.settle_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as,
      this_batch.run_id, apply_identity_batch.batch_id, is_answer => body is not null
    );
  end if;

  update identity_sync.batch
  set
    state = case when body is null then 'empty' else 'applied' end,
    library_ids = this_batch.library_ids,
    asked_as = this_batch.asked_as,
    leased_by = null,
    leased_until = null,
    answer = case when this_batch.dry_run then body end,
    answered_at = case when body is not null then came_at end,
    closed_at = clock_timestamp()
  where batch.batch_id = apply_identity_batch.batch_id;
end;
$$;

revoke all on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) from public;

comment on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) is
  'Takes a batch, LML''s answer and its text (NULL: nothing was left to request, and the answer is []); closes the batch as applied or empty. Raises what apply_identity_verdicts raises.';
