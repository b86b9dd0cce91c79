-- The one rule of success, for a run's outcome and for the exit status of `apply` and `replay`: no more rows were
-- refused than not. Rows left on purpose are not refused.
create or replace function identity_sync.report_is_success(report jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select 2 * identity_sync_private.refused_rows(report) <= (report ->> 'scanned')::integer;
$$;

revoke all on function identity_sync.report_is_success(jsonb) from public;

comment on function identity_sync.report_is_success(jsonb) is
  'Takes the report of a run, a writer or a dry run; returns false where more rows were refused than not.';
