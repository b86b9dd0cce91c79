-- Reads an answer as it came off the wire, so that one value that jsonb refuses costs one verdict, not 500: its result
-- is set aside as text, under its number (an escaped NUL, a lone surrogate, a number out of bounds). An answer too rich
-- is none, since its values are parsed in memory, and each result that was not asked is quarantined.
create or replace function identity_sync.read_identity_answer(body text, asked integer default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- LML's answer for 1,000 compilations has 11 MB.
  most_bytes constant integer := 24000000;
  -- A number takes 32 bytes to parse, an empty array 250, an empty object 600. LML's 11 MB have 400,000 values.
  most_values constant integer := case when asked is null then 4000000 else 2000000 end;
  most_results constant integer := 150000 + asked;
  is_salvaged boolean := false;
  answer jsonb;
  results integer;
begin
  -- Editors that save a byte order mark do not show it.
  if starts_with(body, E'\ufeff') then
    body := substr(body, 2);
  end if;
  if octet_length(body) > most_bytes and asked is not null then
    return null;
  end if;
  -- What is small holds fewer.
  if octet_length(body) > most_values
    and 3::bigint * octet_length(body) - octet_length(replace(body, ',', '')) - octet_length(replace(body, '[', ''))
      - octet_length(replace(body, '{', '')) > most_values
  then
    return null;
  end if;
  begin
    answer := body::jsonb;
  exception
    when others then
      answer := null;
  end;
  if answer is null then
    is_salvaged := true;
    -- Salvaging takes several times what reading does; a batch whose answer is refused is cut in two in the end.
    if octet_length(body) > 16000000 then
      return null;
    end if;
    answer := identity_sync_private.salvage_identity_answer(body);
  end if;
  if not identity_sync_private.is_identity_answer(answer) then
    return null;
  end if;
  -- The jsonpath counts in place.
  results := case jsonb_typeof(answer)
    when 'array' then jsonb_array_length(answer)
    else jsonb_path_query_first(answer, '$.results.size()')::integer
  end;
  if results > most_results then
    return null;
  end if;
  -- Only salvaging says what is set aside; a key of that name in LML's answer means nothing.
  if not is_salvaged and jsonb_typeof(answer) = 'object' and answer ? 'set_aside' then
    answer := answer - 'set_aside';
  end if;
  return answer;
end;
$$;

revoke all on function identity_sync.read_identity_answer(text, integer) from public;

comment on function identity_sync.read_identity_answer(text, integer) is
  'Takes the text of an answer, and how many ids were asked (NULL: any number); returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer, has 4,000,000 commas and opening brackets, or where ids were asked 2,000,000, 24 MB or 150,000 results more than these, or has 16 MB and is refused by jsonb.';
