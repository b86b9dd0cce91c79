-- Counts the rows of a report that went wrong: with LML, its answer or the database. The other skipped rows were left
-- on purpose: an unvisited compilation, a row set by hand, a newer verdict, a library that is gone.
create or replace function identity_sync_private.refused_rows(report jsonb)
returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(skipped.value::integer), 0)::integer
  from jsonb_each_text(coalesce(report -> 'rows_skipped', report -> 'would_skip')) as skipped
  where skipped.key not in ('compilation', 'manual_precedence', 'stale_verdict', 'library_gone');
$$;

revoke all on function identity_sync_private.refused_rows(jsonb) from public;

comment on function identity_sync_private.refused_rows(jsonb) is
  'Takes a report, also one in the shape of a dry run; returns its number of refused rows.';
