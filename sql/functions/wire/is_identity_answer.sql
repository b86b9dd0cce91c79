-- An answer of LML is an array of results, an object with such an array, or one result.
-- The jsonpath reads its megabytes in place; the operator -> would copy them.
create or replace function identity_sync_private.is_identity_answer(response jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    case jsonb_typeof(response)
      when 'array' then true
      when 'object' then case
        when response ? 'results' then response @? 'strict $.results ? (@.type() == "array")'
        else response ? 'library_id' or response ? 'kind'
      end
    end,
    false
  );
$$;

revoke all on function identity_sync_private.is_identity_answer(jsonb) from public;

comment on function identity_sync_private.is_identity_answer(jsonb) is
  'Takes a JSON document or NULL; returns whether it is LML''s whole answer, an array of results, or one result.';
