-- Adds two reports key by key: numbers are summed, objects are added in turn.
-- It is the step of the aggregate sum_reports, so a run's report is the sum over its batches by construction.
-- Adding to nothing gives the other report as it is.
create or replace function identity_sync_private.add_reports(total jsonb, report jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if total is null or report is null then
    return coalesce(total, report);
  end if;
  return (
    select
      jsonb_object_agg(
        entry.key,
        case jsonb_typeof(entry.value)
          when 'object' then identity_sync_private.add_reports(total -> entry.key, entry.value)
          else to_jsonb((total ->> entry.key)::bigint + entry.value::bigint)
        end
      )
    from jsonb_each(report) as entry
  );
end;
$$;

revoke all on function identity_sync_private.add_reports(jsonb, jsonb) from public;

comment on function identity_sync_private.add_reports(jsonb, jsonb) is
  'Takes two reports of one shape, either of them NULL; returns the report whose every number is the sum of the two.';
