-- Takes back what a run wrote: rows that it inserted go, others come back as they were, its marks and its quarantine
-- go, and all of it is due. What a verdict only confirmed stays, and so does what anybody has changed since. Undoing
-- is a run of its own, so that it is recorded, shown and undone like any other; a second time it changes nothing.
create or replace function identity_sync.undo_identity_run(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  undone record;
  since record;
  unmarked_ids integer[];
  quarantine_closed integer;
  report jsonb := '{
    "identity": {"removed": 0, "restored": 0},
    "source": {"removed": 0, "restored": 0},
    "compilation_track": {"restored": 0},
    "newer": 0,
    "held": 0
  }'::jsonb;
begin
  select run.dry_run, run.finished_at
  into undone
  from identity_sync.run
  where run.run_id = undo_identity_run.run_id
  for share;
  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if undone.finished_at is null then
    raise exception using
      errcode = 'LS001',
      message = format('run %s is not over', run_id),
      hint = format('Stop it first: select stop_identity_run(%s, ''why'').', run_id);
  end if;
  if undone.dry_run then
    raise exception using
      errcode = 'LS001',
      message = format('run %s was a dry run and wrote nothing', run_id),
      hint = 'A preview that was applied has a number of its own: the view run_progress lists it.';
  end if;

  -- All of it at once, before anything is looked at.
  perform identity_sync_private.lock_identities(
    array(
      select listed.library_id
      from identity_sync_private.libraries_of_run(run_id) as listed (library_id)
      where undo_identity_run.ids is null or listed.library_id = any (undo_identity_run.ids)
    )
  );

  with lifted as (
    delete from identity_sync.attempt
    using identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id
      and attempt.settlement_id = settlement.settlement_id
      and (undo_identity_run.ids is null or attempt.library_id = any (undo_identity_run.ids))
    returning attempt.library_id
  )
  select coalesce(array_agg(lifted.library_id), '{}')
  into unmarked_ids
  from lifted;
  perform identity_sync_private.ask_again(unmarked_ids);

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = format('undone by run %s', this_run)
  from identity_sync.settlement
  where settlement.run_id = undo_identity_run.run_id
    and entry.settlement_id = settlement.settlement_id
    and entry.closed_at is null
    and (undo_identity_run.ids is null or entry.library_id = any (undo_identity_run.ids));
  get diagnostics quarantine_closed = row_count;

  select * into since from identity_sync_private.writes_since(run_id);

  for undone in
    select settlement.settlement_id
    from identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id and not settlement.dry_run
    order by settlement.settlement_id
  loop
    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.undo_settlement(
        undone.settlement_id, ids, since.written_later, since.undone_before, since.undone_by, since.ours, this_run
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(
    this_run, 'undo', started_at, identity_sync_private.empty_report(), run_id, ids
  );
  return report || jsonb_build_object(
    'run_id', this_run, 'of_run_id', run_id, 'marks_lifted', cardinality(unmarked_ids),
    'quarantine_closed', quarantine_closed
  );
end;
$$;

revoke all on function identity_sync.undo_identity_run(bigint, integer[]) from public;

comment on function identity_sync.undo_identity_run(bigint, integer[]) is
  'Takes a run that is over and the libraries to undo (NULL: all); returns what was removed and restored, how many rows were left because they were changed since (newer) or are held by hand (held), and the number of the undo itself (run_id). Raises LS001 where the run is open or was a dry run, LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
