-- Writes what a dry run previewed, the answers that it kept and the inputs that LML refused, without a second call to
-- LML. Each keeps its age, so a verdict that a newer one has overtaken since is a stale_verdict. A second time it
-- changes nothing.
create or replace function identity_sync.apply_identity_preview(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  previewed record;
  unknown_ids integer[];
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

  select array_agg(named.id order by named.id)
  into unknown_ids
  from unnest(ids) as named (id)
  where not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and named.id = any (batch.library_ids)
  );
  if unknown_ids is not null then
    raise exception using
      errcode = 'LS001',
      message = format('ids that dry run %s did not preview: %s', run_id, array_to_string(unknown_ids[:100], ', ')),
      hint = 'Look at what it would change, and name ids from there.';
  end if;

  for previewed in
    select
      batch.batch_id,
      named.library_ids,
      case when batch.asked_as is not null then named.asked_as end as asked_as,
      batch.failure as poison,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    cross join lateral (
      select array_agg(listed.id order by listed.place), array_agg(listed.fingerprint order by listed.place)
      from unnest(batch.library_ids, batch.asked_as) with ordinality as listed (id, fingerprint, place)
      where apply_identity_preview.ids is null or listed.id = any (apply_identity_preview.ids)
    ) as named (library_ids, asked_as)
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and (apply_identity_preview.ids is null or batch.library_ids && apply_identity_preview.ids)
    order by batch.batch_id
  loop
    if previewed.poison is not null then
      report := identity_sync_private.add_reports(
        report,
        identity_sync_private.apply_poison_input(
          previewed.batch_id, previewed.library_ids[1], previewed.poison, null, previewed.answered_at,
          previewed.strict_bands, this_run
        )
      );
      continue;
    end if;

    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.settle_verdicts(
        response => identity_sync.read_identity_answer(previewed.answer, cardinality(previewed.library_ids)),
        requested => previewed.library_ids,
        origin => identity_sync_private.service_origin(),
        verified_at => previewed.answered_at,
        strict_bands => previewed.strict_bands,
        asked_as => previewed.asked_as,
        run_id => this_run,
        chosen => apply_identity_preview.ids
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(this_run, 'preview', started_at, report, run_id, ids);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_preview(bigint, integer[]) from public;

comment on function identity_sync.apply_identity_preview(bigint, integer[]) is
  'Takes a dry run that has finished and the libraries to write (NULL: all); applies its kept answers, quarantines its poison inputs and returns the report. Raises LS001 for a library that was not previewed, LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
