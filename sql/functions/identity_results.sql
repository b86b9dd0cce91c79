-- The results in an answer: its own array "results", or the answer itself where it is an array or a single result.
-- NULL says that it is no answer of this shape.
create or replace function identity_sync.identity_results(response jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case jsonb_typeof(response)
    when 'array' then response
    when 'object' then
      case
        when response ? 'results' then
          -- By a path, since an operator would copy megabytes to look at their type.
          case when response @? 'strict $.results ? (@.type() == "array")' then response -> 'results' end
        when response ? 'library_id' or response ? 'kind' then jsonb_build_array(response)
      end
  end;
$$;

revoke all on function identity_sync.identity_results(jsonb) from public;

comment on function identity_sync.identity_results(jsonb) is
  'Takes LML''s whole answer, an array of results, or one result; returns the array of results, NULL where it is none of these.';
