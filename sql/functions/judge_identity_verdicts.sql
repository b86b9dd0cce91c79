-- Judges every result of an answer on its own, by the wire contract alone, and writes nothing.
-- What is fine comes back typed and ready to be settled; what is not carries its outcome only, and explain_refusal finds
-- the words, so that the many good verdicts pay for one cheap expression and only the few bad ones for a reason.
create or replace function identity_sync.judge_identity_verdicts(results jsonb, requested integer[], strict_bands boolean)
returns identity_sync.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return (
    -- Each "offset 0" is a fence: without it the planner repeats an expression wherever its column is used.
    with result as (
      select
        listed.ordinal,
        field.*,
        -- 7.0 is the integer seven, 7.5 is none, and 1e400 must not reach the cast.
        case
          when field.library_id between '-2147483648' and '2147483647'
            and trunc(field.library_id::numeric) = field.library_id::numeric
          then field.library_id::integer
        end as id,
        case
          when field.confidence between '0' and '1' then round(field.confidence::numeric, 12)::real
        end as composed,
        case when jsonb_typeof(field.provenance) = 'array' then field.provenance end as legs
      from jsonb_array_elements(judge_identity_verdicts.results) with ordinality as listed (verdict, ordinal)
      cross join lateral jsonb_to_record(
        case when jsonb_typeof(listed.verdict) = 'object' then listed.verdict else '{}' end
      ) as field (
        library_id jsonb,
        kind text,
        main jsonb,
        method text,
        confidence jsonb,
        provenance jsonb,
        tracks_attempted jsonb,
        tracks jsonb
      )
      offset 0
    ),
    leg as (
      select
        result.ordinal,
        listed.position,
        listed.entry ->> 'method' as method,
        listed.entry ->> 'source' as source,
        -- A bit a source: their sum differs from their union exactly where one source is named twice.
        case listed.entry ->> 'source'
          when 'discogs' then 1
          when 'musicbrainz' then 2
          when 'wikidata' then 4
          when 'spotify' then 8
          when 'apple_music' then 16
          when 'bandcamp' then 32
        end as source_bit,
        nullif(listed.entry -> 'external_id', 'null') as external_id,
        nullif(listed.entry -> 'confidence', 'null') as confidence,
        case
          when listed.entry -> 'confidence' between '0' and '1'
          then (listed.entry -> 'confidence')::numeric
        end as share
      from result
      cross join lateral jsonb_array_elements(result.legs) with ordinality as listed (entry, position)
      offset 0
    ),
    banded as (
      select
        leg.*,
        -- The wire's bands, with a tolerance of 0.00001, since confidences are float4 on the other side.
        case leg.method
          when 'manual' then leg.share >= 0.99999
          when 'cross_source_agreement' then true
          when 'exact_match' then leg.share >= 0.99999
          when 'name_variation' then leg.share between 0.89999 and 0.99001
          when 'member_group' then leg.share between 0.79999 and 0.89001
          when 'alias_match' then leg.share between 0.74999 and 0.84001
          when 'trigram' then leg.share >= 0.69999
          when 'llm' then leg.share between 0.59999 and 0.79001
        end as in_band
      from leg
      offset 0
    ),
    provenance as (
      select
        banded.ordinal,
        bool_and(coalesce(
          banded.source_bit is not null
          and case
            when banded.confidence is null
            then banded.external_id is null
              and (
                banded.method is null
                or banded.method in (
                  'manual', 'cross_source_agreement', 'exact_match', 'name_variation',
                  'member_group', 'alias_match', 'trigram', 'llm'
                )
              )
            else banded.in_band is not null
              and banded.share is not null
              and jsonb_typeof(banded.external_id) = 'string'
              and char_length(banded.external_id #>> '{}') between 1 and 512
          end,
          false
        )) as fine,
        array_agg(
          row(
            banded.source, banded.external_id #>> '{}', banded.method, round(banded.share, 12)::real, not banded.in_band
          )::identity_sync.judged_source
          order by banded.position
        ) filter (where banded.share is not null) as named,
        sum(banded.source_bit) filter (where banded.share is not null)
          <> bit_or(banded.source_bit) filter (where banded.share is not null) as has_duplicate,
        count(*) filter (where banded.confidence is null) as null_confidence,
        count(*) filter (where not banded.in_band) as out_of_band
      from banded
      group by banded.ordinal
      offset 0
    ),
    deduplicated as (
      select
        provenance.ordinal,
        provenance.fine,
        provenance.null_confidence,
        provenance.named,
        provenance.out_of_band,
        case
          when provenance.fine and provenance.has_duplicate
          then identity_sync.best_judged_sources(provenance.named)
          else provenance.named
        end as sources,
        coalesce(provenance.fine and provenance.has_duplicate, false) as has_duplicate
      from provenance
      offset 0
    ),
    verdict as (
      select
        result.ordinal,
        result.id,
        result.kind,
        result.composed,
        result.method,
        row_number() over (partition by result.id order by result.ordinal) > 1 as repeated,
        provenance.sources,
        coalesce(provenance.null_confidence, 0) as null_confidence,
        case
          when provenance.has_duplicate then cardinality(provenance.named) - cardinality(provenance.sources)
          else 0
        end as duplicate,
        case
          when provenance.has_duplicate
          then (select count(*) from unnest(provenance.sources) as source where source.out_of_band)
          else coalesce(provenance.out_of_band, 0)
        end as out_of_band,
        main.*,
        coalesce(
        result.legs is not null
        and coalesce(provenance.fine, true)
        and coalesce(jsonb_typeof(result.tracks_attempted) = 'boolean', true)
        and coalesce(jsonb_typeof(result.tracks) = 'array', true)
        and (result.confidence is null or result.composed is not null)
        and case
          when result.kind = 'single_artist'
          then result.composed is not null
            and result.method in (
              'manual', 'cross_source_agreement', 'exact_match', 'name_variation',
              'member_group', 'alias_match', 'trigram', 'llm'
            )
            and jsonb_typeof(result.main) = 'object'
            and case
              when main.discogs_artist_id is null then true
              when main.discogs_artist_id between '1' and '2147483647'
              then trunc(main.discogs_artist_id::numeric) = main.discogs_artist_id::numeric
              else false
            end
            and coalesce(jsonb_typeof(main.musicbrainz_artist_id) = 'string', true)
            and coalesce(jsonb_typeof(main.wikidata_qid) = 'string', true)
            and coalesce(jsonb_typeof(main.spotify_artist_id) = 'string', true)
            and coalesce(jsonb_typeof(main.apple_music_artist_id) = 'string', true)
            and coalesce(jsonb_typeof(main.bandcamp_id) = 'string', true)
            and coalesce(char_length(main.musicbrainz_artist_id #>> '{}') between 1 and 512, true)
            and coalesce(char_length(main.wikidata_qid #>> '{}') between 1 and 512, true)
            and coalesce(char_length(main.spotify_artist_id #>> '{}') between 1 and 512, true)
            and coalesce(char_length(main.apple_music_artist_id #>> '{}') between 1 and 512, true)
            and coalesce(char_length(main.bandcamp_id #>> '{}') between 1 and 512, true)
            and not (judge_identity_verdicts.strict_bands and coalesce(provenance.out_of_band, 0) > 0)
          when result.kind = 'compilation'
          then result.main is null
            and coalesce(
              result.method in (
                'manual', 'cross_source_agreement', 'exact_match', 'name_variation',
                'member_group', 'alias_match', 'trigram', 'llm'
              ),
              true
            )
          when result.kind = 'unresolved' then result.main is null and result.method is null
          else false
        end,
        false
        ) as fine
      from result
      left join deduplicated as provenance on provenance.ordinal = result.ordinal
      cross join lateral jsonb_to_record(
        case when jsonb_typeof(result.main) = 'object' then result.main else '{}' end
      ) as main (
        discogs_artist_id jsonb,
        musicbrainz_artist_id jsonb,
        wikidata_qid jsonb,
        spotify_artist_id jsonb,
        apple_music_artist_id jsonb,
        bandcamp_id jsonb
      )
      offset 0
    ),
    asked as (
      select unnest(judge_identity_verdicts.requested) as id
    )
    select array_agg(judged.verdict)
    from (
      select
        row(
          verdict.ordinal,
          verdict.id,
          case
            when verdict.id is null then 'invalid_verdict'
            when verdict.repeated then 'lml_untrusted_library_id'
            when judge_identity_verdicts.requested is not null and asked.id is null then 'lml_untrusted_library_id'
            when library.id is null then 'library_gone'
            when not verdict.fine then 'invalid_verdict'
            when verdict.kind = 'single_artist' then 'resolved'
            else verdict.kind
          end,
          case when verdict.fine then verdict.discogs_artist_id::integer end,
          verdict.musicbrainz_artist_id #>> '{}',
          verdict.wikidata_qid #>> '{}',
          verdict.spotify_artist_id #>> '{}',
          verdict.apple_music_artist_id #>> '{}',
          verdict.bandcamp_id #>> '{}',
          verdict.method,
          verdict.composed,
          verdict.sources,
          verdict.null_confidence,
          verdict.duplicate,
          verdict.out_of_band
        )::identity_sync.judged_verdict as verdict
      from verdict
      left join asked on asked.id = verdict.id
      left join wxyc_schema.library on library.id = verdict.id
      union all
      select
        row(
          null,
          asked.id,
          case when library.id is null then 'library_gone' else 'lml_cardinality_mismatch' end,
          null, null, null, null, null, null, null, null, null, 0, 0, 0
        )::identity_sync.judged_verdict
      from asked
      left join wxyc_schema.library on library.id = asked.id
      where not exists (select from verdict where verdict.id = asked.id)
    ) as judged
  );
end;
$$;

revoke all on function identity_sync.judge_identity_verdicts(jsonb, integer[], boolean) from public;

comment on function identity_sync.judge_identity_verdicts(jsonb, integer[], boolean) is
  'Takes LML''s results as a JSON array, the distinct ids that were asked (NULL: trust every id) and whether a confidence outside its method''s band refuses its verdict; returns one judged verdict a result and one an id without a result, NULL where there is neither. The rules are the wire contract''s.';
