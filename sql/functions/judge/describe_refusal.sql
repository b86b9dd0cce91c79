-- Words a refusal for a person: which field, what it holds or that it is missing, and what is allowed.
-- A value is cut to 200 characters, because one string may have megabytes; one that is long as text, whatever its size
-- in jsonb, is said in words.
create or replace function identity_sync_private.describe_refusal(path text, value jsonb, allowed text)
returns identity_sync_private.refusal
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  shown text := case
    when value is null then 'missing'
    -- A string of many characters is cut before it is quoted.
    when jsonb_typeof(value) = 'string' then to_jsonb(left(value #>> '{}', 201))::text
    when jsonb_typeof(value) = 'number' then case
      when abs(value::numeric) < 1e1000 and scale(value::numeric) < 1000 then value::text
    end
    when pg_column_size(value) <= 1000 then identity_sync_private.printable(value)::text
  end;
  kept jsonb := value;
begin
  if shown is null then
    shown := case jsonb_typeof(value)
      when 'array' then format('an array of %s elements', jsonb_array_length(value))
      when 'object' then format('an object of %s fields', (select count(*) from jsonb_object_keys(value)))
      else 'a number of very many digits'
    end;
    kept := to_jsonb(shown);
  elsif char_length(shown) > 200 then
    shown := left(shown, 200) || '…';
    kept := to_jsonb(shown);
  end if;
  return row(
    path, kept, format('%s is %s; allowed: %s', coalesce(nullif(path, ''), 'the verdict'), shown, allowed)
  )::identity_sync_private.refusal;
end;
$$;

revoke all on function identity_sync_private.describe_refusal(text, jsonb, text) from public;

comment on function identity_sync_private.describe_refusal(text, jsonb, text) is
  'Takes a field''s path, its value (NULL: missing) and what is allowed; returns the refusal in words, the value cut to 200 characters.';
