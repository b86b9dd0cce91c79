-- Saves the readable results of an answer that jsonb refuses as a whole. Once the refused escapes are masked, the
-- type json takes the text and gives its elements verbatim. A result that holds a masked escape, or that jsonb refuses,
-- leaves only its library_id in place; its text goes to set_aside under its number.
create or replace function identity_sync_private.salvage_identity_answer(body text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A text does not contain its own hash, so nothing else in it looks like the mark.
  mark constant text := md5(body);
  masked text;
  document json;
  results json;
begin
  -- Escaped backslashes first, or the text \\u0000 would pass for an escape. Then whole surrogate pairs: the surrogates
  -- that are left are lone ones.
  masked := replace(body, '\\', mark || 'b');
  masked := replace(masked, '\u0000', mark || 'n0000');
  masked := regexp_replace(
    masked, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})', mark || 'p\1\2', 'g'
  );
  masked := regexp_replace(masked, '\\u([dD][89a-fA-F][0-9a-fA-F]{2})', mark || 'n\1', 'g');
  masked := regexp_replace(masked, mark || 'p(.{4})(.{4})', '\\u\1\\u\2', 'g');
  masked := replace(masked, mark || 'b', '\\');

  begin
    document := masked::json;
    results := case json_typeof(document)
      when 'array' then document
      when 'object' then coalesce(
        document -> 'results',
        case
          when document ->> 'library_id' is not null or document ->> 'kind' is not null then json_build_array(document)
        end
      )
    end;
    if coalesce(json_typeof(results), 'null') <> 'array' then
      return null;
    end if;
  exception
    when others then
      return null;
  end;

  return (
    select
      jsonb_build_object(
        'results',
        coalesce(
          jsonb_agg(
            coalesce(read.verdict, aside.result - 'unreadable' - 'path' - 'fault') order by read.ordinal
          ),
          '[]'
        ),
        'set_aside',
        coalesce(jsonb_object_agg(read.ordinal::text, aside.result) filter (where read.verdict is null), '{}'),
        'tracks_contract_version',
        case
          when json_typeof(document) = 'object'
          then identity_sync_private.jsonb_or_null((document -> 'tracks_contract_version')::text)
        end
      )
    from (
      select
        listed.ordinal,
        listed.element::text as masked_result,
        case
          when position(mark in listed.element::text) = 0 then identity_sync_private.jsonb_or_null(listed.element::text)
        end as verdict
      from json_array_elements(results) with ordinality as listed (element, ordinal)
    ) as read
    left join lateral (
      select identity_sync_private.set_aside_result(read.masked_result, mark) as result
    ) as aside on read.verdict is null
  );
end;
$$;

revoke all on function identity_sync_private.salvage_identity_answer(text) from public;

comment on function identity_sync_private.salvage_identity_answer(text) is
  'Takes the text of an answer that jsonb refuses; returns an answer whose unreadable results stand as text in set_aside, under their number, NULL where the text is no JSON or no answer.';
