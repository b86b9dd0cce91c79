-- The step of the aggregate sum_reports, which makes a run's report the sum over its settlements by construction.
-- Numbers are summed key by key, nested objects in turn.
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
  'Takes two reports of one shape; returns their sum, or the other one where one is NULL.';
