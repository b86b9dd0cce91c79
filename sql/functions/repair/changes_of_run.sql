-- What a run changed, read from what it kept: what a row was stands in the history, what it became in the next entry
-- there, or in the row itself where nothing has changed it since. last_verified_at moves with every confirmation, and
-- is left out.
create or replace function identity_sync_private.changes_of_run(run_id bigint)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- Rows are found through their keys and joined once by hash, however many the planner expects.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
  ids constant integer[] := array(select identity_sync_private.libraries_of_run(changes_of_run.run_id));
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = changes_of_run.run_id and not settlement.dry_run
  ),
  known_identity as (
    select * from wxyc_schema.library_identity as known where known.library_id = any (ids)
  ),
  known_source as (
    select * from wxyc_schema.library_identity_source as known where known.library_id = any (ids)
  ),
  kept_source as (
    select * from identity_sync.superseded_source as kept where kept.library_id = any (ids)
  ),
  inserted as (
    select own.settlement_id, own.settled_at, own.verified_at, own.origin, listed.library_id
    from own
    cross join lateral unnest(own.inserted_ids) as listed (library_id)
  ),
  -- Each identity with the time at which it was left behind: the oldest one after a settlement is what that wrote.
  archived as materialized (
    select history.library_id, history.history_id, to_jsonb(history) as content,
      coalesce(keeping.settled_at, history.superseded_at) as left_at
    from wxyc_schema.library_identity_history as history
    join unnest(ids) as named (id) on named.id = history.library_id
    left join (
      select settlement.settled_at, kept.history_id
      from identity_sync.settlement
      cross join lateral unnest(settlement.history_ids) as kept (history_id)
    ) as keeping on keeping.history_id = history.history_id
  ),
  written as (
    select inserted.settled_at, inserted.library_id, '{}'::jsonb as old_content
    from inserted
    union all
    select own.settled_at, archived.library_id, archived.content
    from own
    cross join lateral unnest(own.history_ids) as kept (history_id)
    join archived on archived.history_id = kept.history_id
  ),
  identity as (
    select distinct on (written.library_id, written.settled_at)
      written.library_id, 'identity' as stored_row, written.old_content,
      coalesce(archived.content, to_jsonb(known)) as new_content
    from written
    left join archived on archived.library_id = written.library_id and archived.left_at > written.settled_at
    left join known_identity as known on known.library_id = written.library_id
    order by written.library_id, written.settled_at, archived.left_at, archived.history_id
  ),
  -- A row that was not there is kept with all of it NULL.
  source as (
    select distinct on (superseded.superseded_id)
      superseded.library_id, 'source ' || superseded.source as stored_row,
      to_jsonb(superseded) as old_content, coalesce(to_jsonb(later), to_jsonb(known)) as new_content
    from own
    join kept_source as superseded on superseded.settlement_id = own.settlement_id
    left join kept_source as later
      on later.library_id = superseded.library_id
      and later.source = superseded.source
      and later.superseded_id > superseded.superseded_id
    left join known_source as known
      on known.library_id = superseded.library_id and known.source = superseded.source
    order by superseded.superseded_id, later.superseded_id
  ),
  -- Sources of a new identity are not listed: they are those of its time and origin.
  inserted_source as (
    select distinct on (stored.library_id, stored.source)
      stored.library_id, 'source ' || stored.source as stored_row, '{}'::jsonb as old_content,
      stored.content as new_content
    from inserted
    join (
      select known.library_id, known.source, known.last_verified_at, known.notes, to_jsonb(known) as content
      from known_source as known
      union all
      select kept.library_id, kept.source, kept.last_verified_at, kept.notes, to_jsonb(kept)
      from kept_source as kept
    ) as stored
      on stored.library_id = inserted.library_id
      and stored.last_verified_at = inserted.verified_at
      and stored.notes = inserted.origin
    left join kept_source as listed
      on listed.settlement_id = inserted.settlement_id
      and listed.library_id = stored.library_id
      and listed.source = stored.source
    where listed.superseded_id is null
    order by stored.library_id, stored.source
  ),
  changed as (
    select identity.library_id, identity.stored_row, identity.old_content, identity.new_content from identity
    union all
    select source.library_id, source.stored_row, source.old_content, source.new_content from source
    union all
    select listed.library_id, listed.stored_row, listed.old_content, listed.new_content from inserted_source as listed
    union all
    select link.library_id, link.stored_row, link.old_content, link.new_content
    from identity_sync_private.links_of_run(changes_of_run.run_id, ids) as link
  )
  select
    changed.library_id, changed.stored_row, field.name, changed.old_content ->> field.name,
    changed.new_content ->> field.name
  from changed
  cross join lateral unnest(identity_sync_private.compared_columns(changed.stored_row)) as field (name)
  where changed.old_content ->> field.name is distinct from changed.new_content ->> field.name;
end;
$$;

revoke all on function identity_sync_private.changes_of_run(bigint) from public;

comment on function identity_sync_private.changes_of_run(bigint) is
  'Takes a real run; returns one row a column that it changed, with its old and new value.';
