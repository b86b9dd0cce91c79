-- Finds the words for a verdict that judge_identity_verdicts refused: the path of the first offending field, its value,
-- and what is allowed there. It asks the same questions as the judge, one by one and in reading order, which is slow and
-- is done for refused verdicts only. A verdict that has no fault gives NULL.
create or replace function identity_sync_private.explain_refusal(verdict jsonb, strict_bands boolean)
returns identity_sync_private.refusal
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  methods constant text[] := array[
    'manual', 'cross_source_agreement', 'exact_match', 'name_variation',
    'member_group', 'alias_match', 'trigram', 'llm'
  ];
  method_list constant text := array_to_string(methods, ', ');
  kind constant text := verdict ->> 'kind';
  fault record;
begin
  if coalesce(jsonb_typeof(verdict), 'null') <> 'object' then
    return identity_sync_private.describe_refusal('', verdict, 'an object');
  end if;

  select checked.*
  into fault
  from (
    values
      (
        'library_id', verdict -> 'library_id', 'an integer',
        identity_sync_private.is_integer(verdict -> 'library_id', -2147483648)
      ),
      (
        'kind', verdict -> 'kind', 'single_artist, compilation, unresolved',
        coalesce(kind in ('single_artist', 'compilation', 'unresolved'), false)
      ),
      (
        'main', verdict -> 'main', case kind when 'single_artist' then 'an object' else 'null, with kind ' || kind end,
        case kind
          when 'single_artist' then coalesce(jsonb_typeof(verdict -> 'main') = 'object', false)
          else coalesce(verdict -> 'main', 'null') = 'null'
        end
      ),
      (
        'main.discogs_artist_id', verdict #> '{main,discogs_artist_id}', 'a positive integer or null',
        coalesce(verdict #> '{main,discogs_artist_id}', 'null') = 'null'
          or identity_sync_private.is_integer(verdict #> '{main,discogs_artist_id}', 1)
      ),
      (
        'main.musicbrainz_artist_id', verdict #> '{main,musicbrainz_artist_id}', 'a string of 1 to 512 characters or null',
        identity_sync_private.is_identifier_or_null(verdict #> '{main,musicbrainz_artist_id}')
      ),
      (
        'main.wikidata_qid', verdict #> '{main,wikidata_qid}', 'a string of 1 to 512 characters or null',
        identity_sync_private.is_identifier_or_null(verdict #> '{main,wikidata_qid}')
      ),
      (
        'main.spotify_artist_id', verdict #> '{main,spotify_artist_id}', 'a string of 1 to 512 characters or null',
        identity_sync_private.is_identifier_or_null(verdict #> '{main,spotify_artist_id}')
      ),
      (
        'main.apple_music_artist_id', verdict #> '{main,apple_music_artist_id}', 'a string of 1 to 512 characters or null',
        identity_sync_private.is_identifier_or_null(verdict #> '{main,apple_music_artist_id}')
      ),
      (
        'main.bandcamp_id', verdict #> '{main,bandcamp_id}', 'a string of 1 to 512 characters or null',
        identity_sync_private.is_identifier_or_null(verdict #> '{main,bandcamp_id}')
      ),
      (
        'method', verdict -> 'method',
        case kind when 'unresolved' then 'null, with kind unresolved' else method_list end,
        case
          when coalesce(verdict -> 'method', 'null') = 'null' then kind is distinct from 'single_artist'
          when kind = 'unresolved' then false
          else coalesce(verdict ->> 'method' = any (methods), false)
        end
      ),
      (
        'confidence', verdict -> 'confidence',
        case kind when 'single_artist' then 'a number from 0 to 1' else 'a number from 0 to 1 or null' end,
        case
          when coalesce(verdict -> 'confidence', 'null') = 'null' then kind is distinct from 'single_artist'
          else verdict -> 'confidence' between '0' and '1'
        end
      ),
      (
        'provenance', verdict -> 'provenance', 'an array',
        coalesce(jsonb_typeof(verdict -> 'provenance') = 'array', false)
      ),
      (
        'tracks_attempted', verdict -> 'tracks_attempted', 'true, false or null',
        coalesce(jsonb_typeof(verdict -> 'tracks_attempted'), 'null') in ('boolean', 'null')
      ),
      (
        'tracks', verdict -> 'tracks', 'an array or null',
        coalesce(jsonb_typeof(verdict -> 'tracks'), 'null') in ('array', 'null')
      )
  ) as checked (path, value, allowed, fine)
  where not checked.fine
  limit 1;

  if found then
    return identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed);
  end if;

  select format('provenance[%s]%s', listed.position - 1, checked.path) as path, checked.value, checked.allowed
  into fault
  from jsonb_array_elements(verdict -> 'provenance') with ordinality as listed (entry, position)
  cross join lateral (
    values
      (1, '', listed.entry, 'an object', jsonb_typeof(listed.entry) = 'object'),
      (
        2, '.source', listed.entry -> 'source', 'discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp',
        coalesce(
          listed.entry ->> 'source' in ('discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'),
          false
        )
      ),
      (
        3, '.method', listed.entry -> 'method', method_list,
        coalesce(
          listed.entry ->> 'method' = any (methods),
          coalesce(listed.entry -> 'confidence', 'null') = 'null'
        )
      ),
      (
        4, '.confidence', listed.entry -> 'confidence', 'a number from 0 to 1, or null where external_id is null',
        case
          when coalesce(listed.entry -> 'confidence', 'null') = 'null'
          then coalesce(listed.entry -> 'external_id', 'null') = 'null'
          else listed.entry -> 'confidence' between '0' and '1'
        end
      ),
      (
        5, '.external_id', listed.entry -> 'external_id',
        'a string of 1 to 512 characters, or null where confidence is null',
        case
          when coalesce(listed.entry -> 'external_id', 'null') = 'null'
          then coalesce(listed.entry -> 'confidence', 'null') = 'null'
          else identity_sync_private.is_identifier_or_null(listed.entry -> 'external_id')
        end
      )
  ) as checked (rank, path, value, allowed, fine)
  where not checked.fine
  order by listed.position, checked.rank
  limit 1;

  if found then
    return identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed);
  end if;

  if strict_bands and kind = 'single_artist' then
    select
      format('provenance[%s].confidence', listed.position - 1) as path,
      listed.entry -> 'confidence' as value,
      format('%s to %s for method %s (strict bands)', band.low, band.high, band.method) as allowed
    into fault
    from jsonb_array_elements(verdict -> 'provenance') with ordinality as listed (entry, position)
    join (
      values
        ('manual', 1.00, 1.00),
        ('exact_match', 1.00, 1.00),
        ('name_variation', 0.90, 0.99),
        ('member_group', 0.80, 0.89),
        ('alias_match', 0.75, 0.84),
        ('trigram', 0.70, 1.00),
        ('llm', 0.60, 0.79)
    ) as band (method, low, high) on band.method = listed.entry ->> 'method'
    where listed.entry -> 'confidence' between '0' and '1'
      and (listed.entry -> 'confidence')::numeric not between band.low - 0.00001 and band.high + 0.00001
    order by listed.position
    limit 1;
    if found then
      return identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed);
    end if;
  end if;

  return null;
end;
$$;

revoke all on function identity_sync_private.explain_refusal(jsonb, boolean) from public;

comment on function identity_sync_private.explain_refusal(jsonb, boolean) is
  'Takes a verdict as LML sent it, and whether bands are strict; returns the path, the value and the reason of its first breach of the wire contract, NULL where there is none.';
