-- Wraps a result that jsonb refuses, so that it can be judged, refused and kept like its neighbours: the library_id
-- that it names, its text as it came, and the path of the first string at fault. Each level of the path reads the text
-- below it again, so that the path ends where the search has read 20 MB.
create or replace function identity_sync_private.set_aside_result(masked text, mark text, is_path_wanted boolean)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  id text;
  is_marked constant boolean := position(mark || 'n' in masked) > 0;
  node json;
  child record;
  path text;
  patience integer := 20000000;
begin
  begin
    id := case json_typeof(masked::json) when 'object' then masked::json ->> 'library_id' end;
  exception
    when others then
      null;
  end;

  if is_marked and is_path_wanted then
    begin
      node := masked::json;
      path := '';
      loop
        patience := patience - octet_length(node::text);
        exit when json_typeof(node) not in ('object', 'array');
        if patience < 0 then
          path := path || '…';
          exit;
        end if;
        if json_typeof(node) = 'object' then
          select '.' || member.key as step, member.value, position(mark || 'n' in member.key) > 0 as is_found
          into child
          from json_each(node) as member
          where position(mark || 'n' in member.key) > 0 or position(mark || 'n' in member.value::text) > 0;
        else
          select format('[%s]', item.position - 1) as step, item.value, false as is_found
          into child
          from json_array_elements(node) with ordinality as item (value, position)
          where position(mark || 'n' in item.value::text) > 0;
        end if;
        path := path || child.step;
        exit when child.is_found;
        node := child.value;
      end loop;
    exception
      when others then
        path := path || '…';
    end;
  end if;

  return jsonb_build_object(
    'library_id', case when id ~ E'^-?[0-9]{1,10}(\\.0+)?$' then id::numeric end,
    'unreadable', replace(masked, mark || 'n', E'\\u'),
    'path', replace(ltrim(path, '.'), mark || 'n', E'\\u'),
    'fault', case
      when is_marked then E'the escape \\u' || left(split_part(masked, mark || 'n', 2), 4)
      else 'jsonb refuses it'
    end
  );
end;
$$;

revoke all on function identity_sync_private.set_aside_result(text, text, boolean) from public;

comment on function identity_sync_private.set_aside_result(text, text, boolean) is
  'Takes a result''s text with its unreadable escapes masked, the mark, and whether the path at fault is looked for; returns {"library_id", "unreadable", "path", "fault"}.';
