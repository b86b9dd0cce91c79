-- Saves the readable results of an answer that jsonb refuses as a whole, in time linear in its bytes: once the refused
-- escapes are masked, the type json takes the text and gives its elements verbatim. A result that holds a mask, or that
-- jsonb refuses, leaves only its library_id in place; its text goes to set_aside under its number.
create or replace function identity_sync_private.salvage_identity_answer(body text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A character of Unicode that stands for none, and that the text does not hold either, takes few bytes and is found
  -- at once. A text does not contain its own hash.
  mark constant text := coalesce(
    (select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 0 limit 1),
    md5(body)
  );
  -- Where the path at fault is looked for; the others name the fault alone.
  most_paths constant integer := 1000;
  masked text := body;
  surrogates integer;
  document json;
  results json;
begin
  -- Escaped backslashes first, or the text \\u0000 would pass for an escape.
  masked := replace(masked, E'\\\\', mark || 'b');
  masked := replace(masked, E'\\u0000', mark || 'n0000');
  -- Each surrogate is one match of a regular expression, of which half a million take a second.
  surrogates := (2 * octet_length(masked) - octet_length(replace(masked, E'\\ud', ''))
    - octet_length(replace(masked, E'\\uD', ''))) / 3;
  if surrogates > 500000 then
    return null;
  end if;
  if surrogates > 0 then
    -- Whole pairs first: the surrogates that are left are lone ones.
    masked := regexp_replace(
      masked, E'\\\\u([dD][89abAB][0-9a-fA-F]{2})\\\\u([dD][c-fC-F][0-9a-fA-F]{2})',
      mark || E'p\\1' || mark || E'q\\2', 'g'
    );
    masked := regexp_replace(masked, E'\\\\u([dD][89a-fA-F][0-9a-fA-F]{2})', mark || E'n\\1', 'g');
    masked := replace(replace(masked, mark || 'p', E'\\u'), mark || 'q', E'\\u');
  end if;
  masked := replace(masked, mark || 'b', E'\\\\');

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
            coalesce(read.verdict, jsonb_build_object('library_id', read.aside -> 'library_id')) order by read.ordinal
          ),
          '[]'
        ),
        'set_aside',
        coalesce(jsonb_object_agg(read.ordinal::text, read.aside) filter (where read.verdict is null), '{}'),
        'tracks_contract_version',
        case
          when json_typeof(document) = 'object'
          then identity_sync_private.jsonb_or_null((document -> 'tracks_contract_version')::text)
        end
      )
    from (
      select
        tried.ordinal,
        tried.verdict,
        case
          when tried.verdict is null
          then identity_sync_private.set_aside_result(
            tried.masked_result, mark,
            count(*) filter (where tried.verdict is null) over (order by tried.ordinal) <= most_paths
          )
        end as aside
      from (
        select
          listed.ordinal,
          listed.element::text as masked_result,
          case
            when position(mark in listed.element::text) = 0
            then identity_sync_private.jsonb_or_null(listed.element::text)
          end as verdict
        from json_array_elements(results) with ordinality as listed (element, ordinal)
        offset 0
      ) as tried
      offset 0
    ) as read
  );
end;
$$;

revoke all on function identity_sync_private.salvage_identity_answer(text) from public;

comment on function identity_sync_private.salvage_identity_answer(text) is
  'Takes the text of an answer that jsonb refuses; returns an answer whose unreadable results stand as text in set_aside, under their number, NULL where the text is no JSON or no answer.';
