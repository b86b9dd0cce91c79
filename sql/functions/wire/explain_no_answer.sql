-- Why a text is no answer of LML, for the person who has written it: where it ceases to be JSON, or what it is instead.
create or replace function identity_sync_private.explain_no_answer(body text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  read json;
  at_line integer;
  said text;
  place text;
  -- PostgreSQL quotes the line up to the word at fault, with three dots where it has left something out.
  quoted text;
begin
  if identity_sync_private.excerpt(body, 1) is null then
    return 'the text is empty';
  end if;
  body := ltrim(body, E'\ufeff');
  read := body::json;
  return format('the text is JSON, but no answer of LML: %s', identity_sync_private.excerpt(read::text, 100));
exception
  when invalid_text_representation or untranslatable_character or statement_too_complex then
    get stacked diagnostics said = pg_exception_detail, place = pg_exception_context;
    place := split_part(place, E'\n', 1);
    at_line := substring(place from '([0-9]+): ')::integer;
    quoted := regexp_replace(substring(place from '[0-9]+: (.*)$'), E'^\\.{3}|\\.{3}$', '', 'g');
    return format(
      'the text is no JSON: line %s, column %s: %s (%s)',
      coalesce(at_line::text, '?'),
      coalesce(
        nullif(strpos(split_part(body, E'\n', at_line), quoted), 0) + greatest(length(quoted), 1) - 1, 1
      ),
      coalesce(identity_sync_private.excerpt(quoted, 100), 'the end of the text'),
      identity_sync_private.excerpt(said, 200)
    );
end;
$$;

revoke all on function identity_sync_private.explain_no_answer(text) from public;

comment on function identity_sync_private.explain_no_answer(text) is
  'Takes a text that is no answer of LML; returns why, with the line and the column where it ceases to be JSON.';
