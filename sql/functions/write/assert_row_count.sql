-- Raises LS006 if a statement touched a different number of rows than intended: another writer, who takes no lock of
-- ours, or a trigger interfered. Nothing of the statement stays.
create or replace function identity_sync_private.assert_row_count(what text, meant integer, touched integer)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if touched <> meant then
    raise exception using
      errcode = 'LS006',
      message = format('%s: %s of %s rows, somebody else or a trigger was in the way', what, touched, meant);
  end if;
end;
$$;

revoke all on function identity_sync_private.assert_row_count(text, integer, integer) from public;

comment on function identity_sync_private.assert_row_count(text, integer, integer) is
  'Takes what a statement did, the rows it was meant for and the rows it touched; raises LS006 where they differ.';
