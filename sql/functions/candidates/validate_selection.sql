-- Refuses the parameters of a selection that are out of range. Selecting and planning share it, so that a run opens
-- only for what identity_candidates takes. A calendar ends: three million days ago is no time that PostgreSQL holds.
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
  perform identity_sync_private.check_argument(
    'scope', quote_literal(scope), scope in ('due', 'refresh', 'recheck', 'ids'), 'due, refresh, recheck, ids'
  );
  if scope = 'ids' and ids is null then
    raise exception using
      errcode = 'LS001',
      message = 'scope is ids, and ids is NULL',
      hint = 'Name the library ids: ids => array[1, 2, 3].';
  end if;
  perform identity_sync_private.check_range('stale_days', stale_days, 0, 1000000, 'days');
  perform identity_sync_private.check_range('unresolved_retry_days', unresolved_retry_days, 0, 1000000, 'days');
  perform identity_sync_private.check_argument(
    'partition',
    format('%s/%s', coalesce(partition_index::text, 'NULL'), coalesce(partition_count::text, 'NULL')),
    partition_count between 1 and 1024 and partition_index between 0 and partition_count - 1,
    '0 <= partition_index < partition_count <= 1024'
  );
end;
$$;

revoke all on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[])
from public;

comment on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[]) is
  'Takes the parameters of identity_candidates; raises LS001 for the first that is out of range.';
