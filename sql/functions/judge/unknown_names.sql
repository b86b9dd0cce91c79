-- What LML names that this service does not know: it is written or left, but an operator should hear of it. All results
-- are looked through only where an unknown source row was counted, otherwise the first few; and the keys of one. What a
-- person cannot read is left out.
create or replace function identity_sync_private.unknown_names(results jsonb, has_unknown_sources boolean)
returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
-- A plan for one known answer would hold a copy of its megabytes for each time that it is named.
set plan_cache_mode = force_generic_plan
as $$
declare
  known constant jsonb := jsonb_build_object(
    'sources', identity_sync_private.sources(), 'methods', identity_sync_private.methods()
  );
  first_few constant jsonb := jsonb_path_query_array(results, '$[0 to 19]');
  examined constant jsonb := case when has_unknown_sources then results else first_few end;
  sample constant jsonb := coalesce(
    jsonb_path_query_first(first_few, '$[*] ? (@.kind == "single_artist" && @.main.type() == "object")'),
    first_few -> 0
  );
  known_keys constant text[] := '{
    library_id, kind, main, method, confidence, provenance, tracks_attempted, tracks,
    main.discogs_artist_id, main.musicbrainz_artist_id, main.wikidata_qid, main.spotify_artist_id,
    main.apple_music_artist_id, main.bandcamp_id
  }'::text[];
begin
  return array(
    select distinct format('%s %s', named.kind, named.word)
    from (
      select 'source' as kind, found.word #>> '{}' as word
      from jsonb_path_query(
        examined, '$[*].provenance[*].source ? (@.type() == "string" && !(@ == $sources[*]))', known
      ) as found (word)
      union all
      select 'method', found.word #>> '{}'
      from jsonb_path_query(
        examined, '$[*].provenance[*].method ? (@.type() == "string" && !(@ == $methods[*]))', known
      ) as found (word)
      union all
      select 'method', found.word #>> '{}'
      from jsonb_path_query(
        examined, '$[*].method ? (@.type() == "string" && !(@ == $methods[*]))', known
      ) as found (word)
      union all
      select 'key', listed.key
      from jsonb_object_keys(case jsonb_typeof(sample) when 'object' then sample else '{}' end) as listed (key)
      where listed.key <> all (known_keys)
      union all
      select 'key', 'main.' || listed.key
      from jsonb_object_keys(
        case jsonb_typeof(sample -> 'main') when 'object' then sample -> 'main' else '{}' end
      ) as listed (key)
      where 'main.' || listed.key <> all (known_keys)
    ) as named
    where identity_sync_private.is_elastic(named.word, false)
    order by 1
    -- A hostile answer may name a thousand.
    limit 20
  );
end;
$$;

revoke all on function identity_sync_private.unknown_names(jsonb, boolean) from public;

comment on function identity_sync_private.unknown_names(jsonb, boolean) is
  'Takes LML''s results and whether their source rows name what is unknown; returns up to 20 unknown sources, methods and keys, each as its kind and name.';
