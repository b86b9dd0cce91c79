-- Finds the results in an answer: its array "results", the answer itself where it is an array, or its only result.
create or replace function identity_sync_private.results_of(response jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when not identity_sync_private.is_identity_answer(response) then null
    when jsonb_typeof(response) = 'array' then response
    when response ? 'results' then response -> 'results'
    else jsonb_build_array(response)
  end;
$$;

revoke all on function identity_sync_private.results_of(jsonb) from public;

comment on function identity_sync_private.results_of(jsonb) is
  'Takes LML''s whole answer, an array of results, or one result; returns the array of results, NULL where it is none of these.';
