-- Reads an answer as it came off the wire, so that one value that jsonb refuses costs one verdict, not 500: its result
-- is set aside as text, under its number (an escaped NUL, a lone surrogate, a number out of bounds). An answer too rich
-- is none, since each value takes 32 bytes and more to parse, and each result that was not asked is quarantined.
create or replace function identity_sync.read_identity_answer(body text, asked integer default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  is_large constant boolean := octet_length(body) > 2000000;
  -- LML's answer for 1,000 compilations has 11 MB.
  most_bytes constant integer := 24000000;
  most_values constant integer := 4000000;
  most_results constant integer := 150000 + asked;
  is_salvaged boolean := false;
  answer jsonb;
begin
  -- Editors that save a byte order mark do not show it.
  if starts_with(body, E'\ufeff') then
    body := substr(body, 2);
  end if;
  if octet_length(body) > most_bytes and asked is not null then
    return null;
  end if;
  if is_large and octet_length(body) - octet_length(replace(body, ',', '')) > most_values then
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
  if is_large and jsonb_array_length(identity_sync_private.results_of(answer)) > most_results then
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
  'Takes the text of an answer, and how many ids were asked (NULL: any number); returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer, has 24 MB where ids were asked, has 4,000,000 commas or 150,000 results more than were asked, or has 16 MB and is refused by jsonb.';
