-- All libraries that undoing a run may touch, so that they can be held at once: written, linked, or marked by it.
create or replace function identity_sync_private.libraries_of_run(run_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with own as materialized (
    select settlement.settlement_id, settlement.linked_credit_ids
    from identity_sync.settlement
    where settlement.run_id = libraries_of_run.run_id and not settlement.dry_run
  )
  select listed.library_id
  from own
  cross join lateral identity_sync_private.libraries_written(own.settlement_id) as listed (library_id)
  union
  select credit.library_id
  from own
  cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
  join wxyc_schema.compilation_track_artist as credit on credit.id = linked.credit_id
  union
  select superseded.library_id
  from own
  join identity_sync.superseded_track_link as superseded on superseded.settlement_id = own.settlement_id
  union
  select attempt.library_id
  from own
  join identity_sync.attempt on attempt.settlement_id = own.settlement_id;
$$;

revoke all on function identity_sync_private.libraries_of_run(bigint) from public;

comment on function identity_sync_private.libraries_of_run(bigint) is
  'Takes a run; returns each library of which it wrote an identity, a source row, a track link or a mark.';
