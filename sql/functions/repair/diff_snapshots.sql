-- Two results of identity_snapshot side by side: every column that differs, old beside new, in reading order.
-- A row that was added has no old values, a row that was removed has no new ones.
create or replace function identity_sync.diff_snapshots(before jsonb, after jsonb)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with old_cell as (
    select library.key::integer as library_id, stored.key as stored_row, field.key as column_name, field.value
    from jsonb_each(before) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
  ),
  new_cell as (
    select library.key::integer as library_id, stored.key as stored_row, field.key as column_name, field.value
    from jsonb_each(after) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
  )
  select library_id, stored_row, column_name, old_cell.value, new_cell.value
  from old_cell
  full join new_cell using (library_id, stored_row, column_name)
  where old_cell.value is distinct from new_cell.value
  order by library_id, stored_row, column_name;
$$;

revoke all on function identity_sync.diff_snapshots(jsonb, jsonb) from public;

comment on function identity_sync.diff_snapshots(jsonb, jsonb) is
  'Takes two results of identity_snapshot; returns one row a column that differs, with its old and new value.';
