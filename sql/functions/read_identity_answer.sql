-- Reads an answer as it came off the wire. Where jsonb refuses the text (an escaped NUL, a lone surrogate, a number
-- beyond all bounds), the results it accepts are read and the others are set aside as text, under their number.
-- NULL says that the text is no JSON, or no answer of this shape.
create or replace function identity_sync.read_identity_answer(body text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  answer constant jsonb := identity_sync.jsonb_or_null(body);
begin
  if answer is null then
    return identity_sync.salvage_identity_answer(body);
  end if;
  if identity_sync.identity_results(answer) is null then
    return null;
  end if;
  -- What is set aside is ours to say, never LML's.
  return case when jsonb_typeof(answer) = 'object' and answer ? 'set_aside' then answer - 'set_aside' else answer end;
end;
$$;

revoke all on function identity_sync.read_identity_answer(text) from public;

comment on function identity_sync.read_identity_answer(text) is
  'Takes the text of an answer; returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer.';
