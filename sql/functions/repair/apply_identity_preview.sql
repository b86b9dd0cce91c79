-- Writes what a dry run previewed, the answers that it kept and the inputs that LML refused, without a second call to
-- LML. Each keeps its age, so a verdict that a newer one has overtaken since is a stale_verdict. A second time it
-- changes nothing.
create or replace function identity_sync.apply_identity_preview(run_id bigint)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  previewed record;
  report jsonb := identity_sync_private.empty_report();
begin
  select run.dry_run, run.finished_at, run.batches_pruned_at, run.planned
  into previewed
  from identity_sync.run
  where run.run_id = apply_identity_preview.run_id
  -- Pruning waits, so that the answers stay until they are applied.
  for share;

  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if not previewed.dry_run then
    raise exception using
      errcode = 'LS004',
      message = format('run %s was no dry run', run_id),
      hint = 'What it answered is written already. Name a run made with --dry-run.';
  end if;
  if previewed.finished_at is null then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s is not over', run_id),
      hint = 'Wait for it, or look at identity_sync.run_progress.';
  end if;
  if previewed.batches_pruned_at is not null then
    raise exception using
      errcode = 'LS004',
      message = format('the answers of dry run %s are gone', run_id),
      hint = 'Answers are kept for KEEP_DAYS. Make a new dry run.';
  end if;

  if previewed.planned > 0 and not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
  )
  then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s got no answer', run_id),
      hint = 'There is nothing to apply. Make a new dry run.';
  end if;

  -- All of it at once: batch after batch, two such sessions could wait for each other.
  perform identity_sync_private.lock_identities(
    array(
      select unnest(batch.library_ids)
      from identity_sync.batch
      where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
    )
  );

  for previewed in
    select
      batch.batch_id,
      batch.library_ids,
      batch.asked_as,
      batch.failure as poison,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
    order by batch.batch_id
  loop
    if previewed.poison is not null then
      report := identity_sync_private.add_reports(
        report,
        identity_sync_private.apply_poison_input(
          previewed.batch_id, previewed.library_ids[1], previewed.poison, null, previewed.answered_at,
          previewed.strict_bands
        )
      );
      continue;
    end if;

    report := identity_sync_private.add_reports(
      report,
      identity_sync.apply_identity_response(
        body => previewed.answer,
        requested => previewed.library_ids,
        origin => identity_sync_private.service_origin(),
        verified_at => previewed.answered_at,
        strict_bands => previewed.strict_bands,
        asked_as => previewed.asked_as
      )
    );
    update identity_sync.settlement
    set run_id = apply_identity_preview.run_id, batch_id = previewed.batch_id
    where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');
  end loop;

  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_preview(bigint) from public;

comment on function identity_sync.apply_identity_preview(bigint) is
  'Takes a dry run that has finished; applies its kept answers, quarantines its poison inputs and returns the report. Raises LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
