-- What is stored for the libraries that an answer names, for comparing before with after: the main row, each source
-- row and each track credit as jsonb, under a name of its own. Every confirmation moves last_verified_at, so it is left
-- out.
create or replace function identity_sync.identity_snapshot(response jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with named as (
    select distinct (listed.verdict -> 'library_id')::numeric::integer as library_id
    from jsonb_array_elements(identity_sync_private.results_of(response)) as listed (verdict)
    where case
      when jsonb_typeof(listed.verdict) = 'object'
      then identity_sync_private.is_integer(listed.verdict -> 'library_id', -2147483648)
    end
  ),
  stored as (
    select known.library_id, 'identity' as name, to_jsonb(known) - 'last_verified_at' as content
    from wxyc_schema.library_identity as known
    join named on named.library_id = known.library_id
    union all
    select known.library_id, 'source ' || known.source, to_jsonb(known) - 'last_verified_at' - 'source'
    from wxyc_schema.library_identity_source as known
    join named on named.library_id = known.library_id
    union all
    select credit.library_id, 'track ' || credit.id, to_jsonb(credit) - 'id'
    from wxyc_schema.compilation_track_artist as credit
    join named on named.library_id = credit.library_id
  )
  select
    coalesce(
      jsonb_object_agg(
        named.library_id::text,
        coalesce(
          (
            select jsonb_object_agg(stored.name, stored.content - 'library_id')
            from stored
            where stored.library_id = named.library_id
          ),
          '{}'
        )
      ),
      '{}'
    )
  from named;
$$;

revoke all on function identity_sync.identity_snapshot(jsonb) from public;

comment on function identity_sync.identity_snapshot(jsonb) is
  'Takes an answer of LML; returns what is stored for the libraries it names, as {library_id: {row: content}}.';
