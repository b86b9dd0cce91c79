-- What a run changed, or what applying a dry run would change: the preview is applied and rolled back, so that the
-- diff meets what the database would refuse. Ids that name somebody else come first, then ids that come or go, then
-- the rest. Where no run is named, it is what the session's latest call by hand changed.
create or replace function identity_sync.identity_run_changes(run_id bigint default null)
returns table (
  library_id integer,
  artist_name text,
  album_title text,
  stored_row text,
  column_name text,
  old_value text,
  new_value text
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set client_min_messages = warning
as $$
declare
  seen_run constant bigint := coalesce(run_id, currval('identity_sync.run_run_id_seq'));
  is_dry_run constant boolean := (select run.dry_run from identity_sync.run where run.run_id = seen_run);
  changes jsonb[];
begin
  if is_dry_run is null then
    raise exception using errcode = 'LS002', message = format('there is no run %s', seen_run);
  end if;

  if is_dry_run then
    begin
      perform identity_sync.apply_identity_preview(seen_run);
      changes := array(
        select to_jsonb(changed)
        from identity_sync_private.changes_of_run(currval('identity_sync.run_run_id_seq')) as changed
      );
      raise exception using errcode = 'LS007', message = 'the dry run is over, its changes are returned';
    exception
      when sqlstate 'LS007' then null;
    end;
  end if;

  return query
  select
    changed.library_id, library.artist_name::text, library.album_title::text, changed.stored_row, changed.column_name,
    changed.old_value, changed.new_value
  from (
    select * from identity_sync_private.changes_of_run(seen_run) where not is_dry_run
    union all
    select previewed.*
    from unnest(changes) as listed (change)
    cross join lateral jsonb_to_record(listed.change) as previewed (
      library_id integer, stored_row text, column_name text, old_value text, new_value text
    )
  ) as changed
  left join wxyc_schema.library on library.id = changed.library_id
  cross join lateral (
    select
      case
        when changed.column_name !~ '(_id|_qid|_mbid)$' then 3
        when changed.old_value is null or changed.new_value is null then 2
        else 1
      end as place
  ) as ranked
  order by ranked.place, changed.library_id, changed.stored_row, changed.column_name;
end;
$$;

revoke all on function identity_sync.identity_run_changes(bigint) from public;

comment on function identity_sync.identity_run_changes(bigint) is
  'Takes a run (NULL: what the session has just done by hand); returns one row a column that it changed, or that applying a dry run would change, old beside new, each with the library''s artist and title. Raises LS002 for an unknown run, 55000 where the session has done nothing, and for a dry run what apply_identity_preview raises.';
