-- Lists the libraries whose release is not on Discogs, as a person has said: a lookup by name finds a wrong one.
-- The station's column may be there or not, and may come or go without a migration of ours. Where library lacks it, the
-- bare name falls to the column of the same name beside it, each time that the statement is planned.
create or replace function identity_sync_private.libraries_not_on_discogs()
returns setof integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select marked.id
  from (select false as discogs_unavailable) as absent
  cross join lateral (
    select library.id
    from wxyc_schema.library
    where discogs_unavailable
  ) as marked;
end;
$$;

revoke all on function identity_sync_private.libraries_not_on_discogs() from public;

comment on function identity_sync_private.libraries_not_on_discogs() is
  'Returns the ids of the libraries whose discogs_unavailable is true; none where library has no such column.';
