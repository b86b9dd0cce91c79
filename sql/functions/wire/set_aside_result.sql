-- Wraps a result that jsonb refuses, so that it can be judged, refused and kept like its neighbours.
-- It holds the library_id that the result names, the text as it came, and the path of the first string at fault.
create or replace function identity_sync_private.set_aside_result(masked text, mark text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  id constant text := case json_typeof(masked::json) when 'object' then masked::json ->> 'library_id' end;
  readable constant jsonb := identity_sync_private.jsonb_or_null(masked);
  path text;
begin
  with recursive node as (
    select ''::text as path, readable as value
    union all
    select node.path || child.step, child.value
    from node
    cross join lateral (
      select '.' || member.key as step, member.value
      from jsonb_each(case when jsonb_typeof(node.value) = 'object' then node.value else '{}' end) as member
      union all
      select format('[%s]', item.position - 1), item.value
      from jsonb_array_elements(case when jsonb_typeof(node.value) = 'array' then node.value else '[]' end)
        with ordinality as item (value, position)
    ) as child
  )
  select ltrim(node.path, '.')
  into path
  from node
  where position(mark in node.path) > 0
    or (jsonb_typeof(node.value) = 'string' and position(mark in node.value #>> '{}') > 0)
  limit 1;

  return jsonb_build_object(
    'library_id', case when id ~ '^-?[0-9]{1,10}(\.0+)?$' then id::numeric end,
    'unreadable', regexp_replace(masked, mark || 'n(.{4})', '\\u\1', 'g'),
    'path', regexp_replace(path, mark || 'n(.{4})', '\\u\1', 'g'),
    'fault', case
      when path is null then 'jsonb refuses it'
      else 'the escape \u' || (regexp_match(masked, mark || 'n(.{4})'))[1]
    end
  );
end;
$$;

revoke all on function identity_sync_private.set_aside_result(text, text) from public;

comment on function identity_sync_private.set_aside_result(text, text) is
  'Takes a result''s text with its unreadable escapes masked, and the mark; returns {"library_id", "unreadable", "path", "fault"}.';
