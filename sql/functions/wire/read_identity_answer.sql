-- Reads an answer as it came off the wire. Where jsonb refuses the text (an escaped NUL, a lone surrogate, a number
-- beyond all bounds), the results it accepts are read and the others are set aside as text, under their number.
-- NULL says that the text is no JSON, or no answer of this shape.
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
  -- What is set aside is ours to say, never LML's.
  if jsonb_typeof(answer) = 'object' and answer ? 'set_aside' then
    answer := answer - 'set_aside';
  end if;
  return answer;
end;
$$;

revoke all on function identity_sync.read_identity_answer(text) from public;

comment on function identity_sync.read_identity_answer(text) is
  'Takes the text of an answer; returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer.';
