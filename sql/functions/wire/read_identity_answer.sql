-- Reads an answer as it came off the wire, so that one value that jsonb refuses costs one verdict, not 500. What jsonb
-- refuses is an escaped NUL, a lone surrogate or a number out of bounds. A result that holds one is set aside as text,
-- under its number; the others are read.
create or replace function identity_sync.read_identity_answer(body text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  answer jsonb;
begin
  begin
    answer := body::jsonb;
  exception
    when others then
      answer := null;
  end;
  if answer is null then
    return identity_sync_private.salvage_identity_answer(body);
  end if;
  if not identity_sync_private.is_identity_answer(answer) then
    return null;
  end if;
  -- Only this function says what is set aside; a key of that name in LML's answer means nothing.
  if jsonb_typeof(answer) = 'object' and answer ? 'set_aside' then
    answer := answer - 'set_aside';
  end if;
  return answer;
end;
$$;

revoke all on function identity_sync.read_identity_answer(text) from public;

comment on function identity_sync.read_identity_answer(text) is
  'Takes the text of an answer; returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer.';
