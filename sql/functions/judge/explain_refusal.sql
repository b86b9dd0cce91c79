-- Finds the reason why judge_identity_verdicts refused a verdict: the path of the first offending field, its value and
-- what is allowed there. It asks the predicates that the judge asks, one by one and in reading order, for refused
-- verdicts only, because that is slow.
create or replace function identity_sync_private.explain_refusal(verdict jsonb, strict_bands boolean)
returns identity_sync_private.refusal
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- A plan for one known verdict would hold a copy of its megabytes for each time that it is named.
set plan_cache_mode = force_generic_plan
as $$
declare
  elastic constant text := case when strict_bands then ' (strict bands)' else ', or 1 to 64 printable characters' end;
  method_list constant text := array_to_string(identity_sync_private.methods(), ', ') || elastic;
  source_list constant text := array_to_string(identity_sync_private.sources(), ', ') || elastic;
  -- Enough to tell what it is: a text may have megabytes.
  kind constant text := left(identity_sync_private.text_of(verdict -> 'kind'), 100);
  method constant text := identity_sync_private.text_of(verdict -> 'method');
  -- A field that is null or missing: the wire takes both for one state.
  has_method constant boolean := coalesce(verdict -> 'method', 'null') <> 'null';
  is_method constant boolean := identity_sync_private.may_be_method(method, strict_bands);
  has_confidence constant boolean := coalesce(verdict -> 'confidence', 'null') <> 'null';
  fault record;
begin
  if coalesce(jsonb_typeof(verdict), 'null') <> 'object' then
    return identity_sync_private.describe_refusal('', verdict, 'an object');
  end if;

  select checked.*
  into fault
  from (
    select
      field.rank,
      field.path,
      verdict #> string_to_array(field.path, '.') as value,
      field.allowed,
      field.is_valid
    from (
      values
        (1, 'library_id', 'an integer', identity_sync_private.is_integer(verdict -> 'library_id', -2147483648)),
        (
          2, 'kind', 'single_artist, compilation, unresolved',
          coalesce(kind in ('single_artist', 'compilation', 'unresolved'), false)
        ),
        (
          3, 'main', case kind when 'single_artist' then 'an object' else 'null, with kind ' || kind end,
          case kind
            when 'single_artist' then coalesce(jsonb_typeof(verdict -> 'main') = 'object', false)
            else coalesce(verdict -> 'main', 'null') = 'null'
          end
        ),
        (
          4, 'main.discogs_artist_id', 'a positive integer or null',
          coalesce(verdict #> '{main,discogs_artist_id}', 'null') = 'null'
            or identity_sync_private.is_integer(verdict #> '{main,discogs_artist_id}', 1)
        ),
        (
          9, 'method', case kind when 'unresolved' then 'null, with kind unresolved' else method_list end,
          case kind
            when 'unresolved' then not has_method
            else coalesce(is_method, kind <> 'single_artist' and not has_method)
          end
        ),
        (
          10, 'confidence', 'a number from 0 to 1' || case kind when 'single_artist' then '' else ' or null' end,
          identity_sync_private.read_confidence(verdict -> 'confidence') is not null
            or (kind <> 'single_artist' and not has_confidence)
        ),
        (11, 'provenance', 'an array', coalesce(jsonb_typeof(verdict -> 'provenance') = 'array', false)),
        (
          12, 'tracks_attempted', 'true, false or null',
          coalesce(jsonb_typeof(verdict -> 'tracks_attempted'), 'null') in ('boolean', 'null')
        ),
        (13, 'tracks', 'an array or null', coalesce(jsonb_typeof(verdict -> 'tracks'), 'null') in ('array', 'null')),
        (
          14, 'main', 'an object with one id or more, where no source has an external_id',
          identity_sync_private.names_an_artist(verdict)
        )
    ) as field (rank, path, allowed, is_valid)
    union all
    select
      4 + id.rank,
      'main.' || id.name,
      verdict #> array['main', id.name],
      'a string of 1 to 512 characters, not blank, or null',
      identity_sync_private.is_identifier_or_null(identity_sync_private.text_of(verdict #> array['main', id.name]))
    from unnest(
      '{musicbrainz_artist_id, wikidata_qid, spotify_artist_id, apple_music_artist_id, bandcamp_id}'::text[]
    ) with ordinality as id (name, rank)
  ) as checked
  where not checked.is_valid
  order by checked.rank
  limit 1;

  if found then
    return identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed);
  end if;

  select format('provenance[%s]%s', leg.position - 1, breach.path) as path, breach.value, breach.allowed
  into fault
  from (
    select judged.*
    from (
      select
        field.*,
        case
          when jsonb_typeof(field.entry) <> 'object' then 1
          when identity_sync_private.source_bit(field.source) is null
            and not identity_sync_private.is_elastic(field.source, strict_bands)
          then 2
          when not coalesce(identity_sync_private.may_be_method(field.method, strict_bands), field.has_no_confidence)
          then 3
          when field.confidence is null and not (field.has_no_confidence and field.has_no_external_id) then 4
          when field.has_no_external_id and not field.has_no_confidence
            or not identity_sync_private.is_identifier_or_null(field.external_id)
          then 5
          when strict_bands and kind = 'single_artist'
            and not identity_sync_private.is_in_band(field.method, field.confidence)
          then 6
        end as rank
      from (
        select
          listed.entry,
          listed.position,
          identity_sync_private.text_of(listed.entry -> 'source') as source,
          identity_sync_private.text_of(listed.entry -> 'method') as method,
          identity_sync_private.read_confidence(listed.entry -> 'confidence') as confidence,
          coalesce(listed.entry -> 'confidence', 'null') = 'null' as has_no_confidence,
          identity_sync_private.text_of(listed.entry -> 'external_id') as external_id,
          coalesce(listed.entry -> 'external_id', 'null') = 'null' as has_no_external_id
        from jsonb_array_elements(verdict -> 'provenance') with ordinality as listed (entry, position)
        -- Fences: an entry is read once, and there may be millions.
        offset 0
      ) as field
      offset 0
    ) as judged
    where judged.rank is not null
    -- A band is looked at last: a breach of the contract comes first, in whichever entry it stands.
    order by judged.rank = 6, judged.position
    limit 1
  ) as leg
  cross join lateral (
    values
      (1, '', leg.entry, 'an object'),
      (2, '.source', leg.entry -> 'source', source_list),
      (3, '.method', leg.entry -> 'method', method_list),
      (4, '.confidence', leg.entry -> 'confidence', 'a number from 0 to 1, or null where external_id is null'),
      (
        5, '.external_id', leg.entry -> 'external_id',
        'a string of 1 to 512 characters, not blank, or null where confidence is null'
      ),
      (
        6, '.confidence', leg.entry -> 'confidence',
        identity_sync_private.describe_band(leg.method) || format(' for method %s (strict bands)', leg.method)
      )
  ) as breach (rank, path, value, allowed)
  where breach.rank = leg.rank;

  return case when found then identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed) end;
end;
$$;

revoke all on function identity_sync_private.explain_refusal(jsonb, boolean) from public;

comment on function identity_sync_private.explain_refusal(jsonb, boolean) is
  'Takes a verdict as LML sent it, and whether bands are strict; returns the path, the value and the reason of its first breach of the wire contract, NULL where there is none.';
