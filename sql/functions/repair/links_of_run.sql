-- The credits that a run linked, each as it was and as it became. A first link had nothing before, and its position
-- counts only where the run filled it.
create or replace function identity_sync_private.links_of_run(run_id bigint, ids integer[])
returns table (library_id integer, stored_row text, old_content jsonb, new_content jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = links_of_run.run_id and not settlement.dry_run
  ),
  known_credit as (
    select * from wxyc_schema.compilation_track_artist as known where known.library_id = any (ids)
  ),
  kept_link as (
    select * from identity_sync.superseded_track_link as kept where kept.library_id = any (ids)
  ),
  link as (
    select own.settled_at, known.library_id, linked.credit_id, '{}'::jsonb as old_content,
      linked.credit_id = any (own.positioned_credit_ids) as is_positioned
    from own
    cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
    join known_credit as known on known.id = linked.credit_id
    union all
    select own.settled_at, superseded.library_id, superseded.credit_id, to_jsonb(superseded), true
    from own
    join kept_link as superseded on superseded.settlement_id = own.settlement_id
  )
  select distinct on (link.credit_id, link.settled_at)
    link.library_id, 'track ' || link.credit_id, link.old_content,
    coalesce(to_jsonb(later), to_jsonb(known), '{}')
      - (case when link.is_positioned then '{}' else '{track_position}' end)::text[]
  from link
  left join kept_link as later
    on later.library_id = link.library_id
    and later.credit_id = link.credit_id
    and later.superseded_at > link.settled_at
  left join known_credit as known on known.id = link.credit_id
  order by link.credit_id, link.settled_at, later.superseded_at;
end;
$$;

revoke all on function identity_sync_private.links_of_run(bigint, integer[]) from public;

comment on function identity_sync_private.links_of_run(bigint, integer[]) is
  'Takes a real run and the libraries that it wrote; returns one row a credit that it linked, relinked or unlinked, with its old and new content.';
