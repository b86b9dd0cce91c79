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

  select judged.*
  into fault
  from (
    select
      leg.*,
      case
        when jsonb_typeof(leg.entry) <> 'object' then ''
        when identity_sync_private.source_bit(leg.source) is null
          and not identity_sync_private.is_elastic(leg.source, strict_bands)
        then 'source'
        when not coalesce(identity_sync_private.may_be_method(leg.method, strict_bands), leg.has_no_confidence)
        then 'method'
        when leg.confidence is null and not (leg.has_no_confidence and leg.external_id is null) then 'confidence'
        when leg.external_id is null and not leg.has_no_confidence
          or not identity_sync_private.is_identifier_or_null(leg.external_id)
        then 'external_id'
        when strict_bands and kind = 'single_artist'
          and not identity_sync_private.is_in_band(leg.method, leg.confidence)
        then 'confidence'
      end as breach
    from (
      select
        listed.entry,
        listed.position,
        identity_sync_private.text_of(listed.entry -> 'source') as source,
        identity_sync_private.text_of(listed.entry -> 'method') as method,
        identity_sync_private.text_of(listed.entry -> 'external_id') as external_id,
        identity_sync_private.read_confidence(listed.entry -> 'confidence') as confidence,
        coalesce(listed.entry -> 'confidence', 'null') = 'null' as has_no_confidence
      from jsonb_array_elements(verdict -> 'provenance') with ordinality as listed (entry, position)
      -- Fences: an entry is read once, and there may be a million.
      offset 0
    ) as leg
    offset 0
  ) as judged
  where judged.breach is not null
  -- A band is looked at last: a breach of the contract comes first, in whichever entry it stands.
  order by judged.breach = 'confidence' and judged.confidence is not null, judged.position
  limit 1;

  return case when found then identity_sync_private.describe_refusal(
    format('provenance[%s]%s', fault.position - 1, '.' || nullif(fault.breach, '')),
    fault.entry #> string_to_array(fault.breach, '.'),
    case
      when fault.breach = '' then 'an object'
      when fault.breach = 'source' then source_list
      when fault.breach = 'method' then method_list
      when fault.breach = 'external_id'
      then 'a string of 1 to 512 characters, not blank, or null where confidence is null'
      when fault.confidence is null then 'a number from 0 to 1, or null where external_id is null'
      else identity_sync_private.describe_band(fault.method) || format(' for method %s (strict bands)', fault.method)
    end
  ) end;
end;
$$;

revoke all on function identity_sync_private.explain_refusal(jsonb, boolean) from public;

comment on function identity_sync_private.explain_refusal(jsonb, boolean) is
  'Takes a verdict as LML sent it, and whether bands are strict; returns the path, the value and the reason of its first breach of the wire contract, NULL where there is none.';
