-- What others have done since a run: the libraries that another run wrote later, those that an undo of this run took
-- back last, and the transactions of the writer, which tell its confirmations from changes by somebody else.
-- Settlements of one library are in order of settled_at, since each is made while the library is held.
create or replace function identity_sync_private.writes_since(
  run_id bigint,
  out written_later integer[],
  out undone_before integer[],
  out undone_by xid[],
  out ours xid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  began_at constant timestamptz := (
    select min(settlement.settled_at)
    from identity_sync.settlement
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
  );
  -- An undo may have left a main row as what it took back, or somebody of ours since, had left it.
  ours_since constant timestamptz := (
    with recursive undone as (
      select writes_since.run_id as run_id
      union
      select run.of_run_id
      from undone
      join identity_sync.run on run.run_id = undone.run_id and run.scope = 'undo'
    )
    select min(settlement.settled_at)
    from undone
    join identity_sync.settlement on settlement.run_id = undone.run_id
    where not settlement.dry_run
  );
begin
  with written as (
    select listed.library_id, max(settlement.settled_at) as at
    from identity_sync.settlement
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
    group by listed.library_id
  ),
  later as (
    select
      listed.library_id,
      max(settlement.settled_at) as at,
      max(settlement.settled_at)
        filter (where run.scope = 'undo' and run.of_run_id = writes_since.run_id) as undone_at
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.settled_at > began_at
      and settlement.run_id is distinct from writes_since.run_id
      and not settlement.dry_run
    group by listed.library_id
  )
  select
    coalesce(array_agg(written.library_id) filter (where later.at is distinct from later.undone_at), '{}'),
    coalesce(array_agg(written.library_id) filter (where later.at = later.undone_at), '{}')
  into written_later, undone_before
  from written
  join later on later.library_id = written.library_id and later.at > written.at;

  select coalesce(array_agg(listed.written_by), '{}')
  into ours
  from identity_sync.settlement
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where settlement.settled_at >= ours_since;

  select coalesce(array_agg(listed.written_by), '{}')
  into undone_by
  from identity_sync.run
  join identity_sync.settlement on settlement.run_id = run.run_id
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where run.scope = 'undo' and run.of_run_id = writes_since.run_id;
end;
$$;

revoke all on function identity_sync_private.writes_since(bigint) from public;

comment on function identity_sync_private.writes_since(bigint) is
  'Takes a run; returns its libraries that another run wrote later, those that an undo of it took back last, the transactions of these undos, and those of all settlements since it, or what it took back, began.';
