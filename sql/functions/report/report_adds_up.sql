-- The sum rule, for the check constraint of settlement: scanned is the requested ids plus the unrequested results, and
-- each of them has exactly one outcome. Identities written are the rows resolved. A report that lacks a key does not
-- add up.
create or replace function identity_sync_private.report_adds_up(report jsonb, requested integer, unrequested integer)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    identity_sync_private.jsonb_shape(report) = identity_sync_private.jsonb_shape(identity_sync_private.empty_report())
    and (report ->> 'scanned')::integer = requested + unrequested
    and (report ->> 'scanned')::integer
      = (report ->> 'rows_resolved')::integer
        + (report ->> 'rows_resolved_compilation')::integer
        + (report ->> 'rows_unresolved')::integer
        + (select sum(skipped.value::integer) from jsonb_each_text(report -> 'rows_skipped') as skipped)
    and (report ->> 'rows_resolved')::integer
      = (select sum(written.value::integer) from jsonb_each_text(report -> 'identity') as written),
    false
  );
$$;

revoke all on function identity_sync_private.report_adds_up(jsonb, integer, integer) from public;

comment on function identity_sync_private.report_adds_up(jsonb, integer, integer) is
  'Takes a report, the number of requested ids and of unrequested results; returns whether each of them is counted exactly once.';
