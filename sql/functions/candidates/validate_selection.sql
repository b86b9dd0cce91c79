-- Refuses knobs of a selection that are out of range, naming the one, its value and what is allowed.
-- Selecting and planning ask the same of them.
create or replace function identity_sync_private.validate_selection(
  scope text,
  stale_days integer,
  unresolved_retry_days integer,
  partition_index integer,
  partition_count integer,
  ids integer[]
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if scope is null or scope not in ('due', 'refresh', 'recheck', 'ids') then
    raise exception using
      errcode = 'LS001',
      message = format('scope is %s', coalesce(quote_literal(scope), 'NULL')),
      hint = 'Allowed: due, refresh, recheck, ids.';
  end if;
  if scope = 'ids' and ids is null then
    raise exception using
      errcode = 'LS001',
      message = 'scope is ids, and ids is NULL',
      hint = 'Name the library ids: ids => array[1, 2, 3].';
  end if;
  if stale_days is null or stale_days < 0 then
    raise exception using
      errcode = 'LS001',
      message = format('stale_days is %s', coalesce(stale_days::text, 'NULL')),
      hint = 'Allowed: 0 days and more.';
  end if;
  if unresolved_retry_days is null or unresolved_retry_days < 0 then
    raise exception using
      errcode = 'LS001',
      message = format('unresolved_retry_days is %s', coalesce(unresolved_retry_days::text, 'NULL')),
      hint = 'Allowed: 0 days and more.';
  end if;
  if partition_count is null or partition_count not between 1 and 1024
    or partition_index is null or partition_index not between 0 and partition_count - 1
  then
    raise exception using
      errcode = 'LS001',
      message = format(
        'partition is %s/%s', coalesce(partition_index::text, 'NULL'), coalesce(partition_count::text, 'NULL')
      ),
      hint = 'Allowed: 0 <= partition_index < partition_count <= 1024.';
  end if;
end;
$$;

revoke all on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[]) from public;

comment on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[]) is
  'Takes the knobs of identity_candidates; raises LS001 for the first that is out of range.';
