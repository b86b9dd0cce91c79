-- Two results of identity_snapshot side by side: every column that differs, old beside new, in reading order.
-- A row that was added has no old values, a row that was removed has no new ones.
create or replace function identity_sync.diff_snapshots(before jsonb, after jsonb)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with cell as (
    select
      'before' as side, library.key::integer as library_id, stored.key as stored_row, field.key as column_name,
      field.value
    from jsonb_each(before) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
    where field.value is not null
    union all
    select 'after', library.key::integer, stored.key, field.key, field.value
    from jsonb_each(after) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
    where field.value is not null
  )
  select
    cell.library_id,
    cell.stored_row,
    cell.column_name,
    min(cell.value) filter (where cell.side = 'before'),
    min(cell.value) filter (where cell.side = 'after')
  from cell
  group by cell.library_id, cell.stored_row, cell.column_name
  having min(cell.value) filter (where cell.side = 'before')
    is distinct from min(cell.value) filter (where cell.side = 'after')
  order by cell.library_id, cell.stored_row, cell.column_name;
$$;

revoke all on function identity_sync.diff_snapshots(jsonb, jsonb) from public;

comment on function identity_sync.diff_snapshots(jsonb, jsonb) is
  'Takes two results of identity_snapshot; returns one row a column that differs, with its old and new value.';
