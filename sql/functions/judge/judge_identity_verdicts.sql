-- Judges every result of an answer on its own, by the wire contract alone, and writes nothing.
-- What is fine comes back typed and ready to be settled; what is not carries its outcome only, and explain_refusal finds
-- the words, so that the many good verdicts pay for one cheap expression and only the few bad ones for a reason.
create or replace function identity_sync_private.judge_identity_verdicts(
  results jsonb,
  requested integer[],
  strict_bands boolean,
  tracks_contract_version jsonb
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  methods constant text[] := array[
    'exact_match', 'cross_source_agreement', 'name_variation', 'alias_match', 'trigram', 'member_group', 'llm', 'manual'
  ];
  -- Nearly always all that were asked are still there, which is cheaper to see at once than one by one.
  are_all_there constant boolean := cardinality(requested) = (
    select count(*) from wxyc_schema.library where library.id = any (requested)
  );
  judged identity_sync_private.judged_verdict[];
  has_repeated boolean;
  answered_count integer;
begin
  -- Each "offset 0" is a fence: without it the planner repeats an expression wherever its column is used.
  select
    array_agg(
      row(
        verdict.ordinal,
        verdict.id,
        case
          when verdict.id is null then 'invalid_verdict'
          when not verdict.is_asked then 'lml_untrusted_library_id'
          when library.id is null and are_all_there is not true then 'library_gone'
          when not verdict.fine then 'invalid_verdict'
          when verdict.kind = 'single_artist' then 'resolved'
          when verdict.kind = 'compilation' and verdict.is_visited then 'resolved_compilation'
          else verdict.kind
        end,
        case when verdict.fine then verdict.discogs_artist_id::integer end,
        verdict.musicbrainz_artist_id,
        verdict.wikidata_qid,
        verdict.spotify_id,
        verdict.apple_music_id,
        verdict.bandcamp_id,
        verdict.method,
        verdict.composed,
        verdict.sources,
        verdict.null_confidence,
        case when verdict.has_duplicate then verdict.named - cardinality(verdict.sources) else 0 end,
        case
          when verdict.has_duplicate
          then (select count(*) from unnest(verdict.sources) as source where source.out_of_band)
          else verdict.out_of_band
        end,
        null, null, null
      )::identity_sync_private.judged_verdict
    ),
    count(verdict.id) > count(distinct verdict.id),
    count(*) filter (where verdict.is_asked)
  into judged, has_repeated, answered_count
  from (
    select
      field.ordinal,
      field.id,
      field.kind,
      field.is_visited,
      field.method,
      field.composed,
      main.discogs_artist_id,
      main.musicbrainz_artist_id,
      main.wikidata_qid,
      main.spotify_id,
      main.apple_music_id,
      main.bandcamp_id,
      provenance.null_confidence,
      provenance.out_of_band,
      provenance.has_duplicate,
      cardinality(provenance.named) as named,
      case
        when provenance.fine and provenance.has_duplicate
        then identity_sync_private.best_judged_sources(provenance.named)
        else provenance.named
      end as sources,
      -- The order is promised, so most are found where they were asked.
      case
        when requested is null or requested[field.ordinal] = field.id then true
        else field.id = any (requested)
      end as is_asked,
      coalesce(
        field.legs is not null
          and coalesce(provenance.fine, true)
          and field.tracks_fine
          and (field.confidence is null or field.composed is not null)
          and case field.kind
            when 'single_artist'
            then field.composed is not null
              and field.method = any (methods)
              and jsonb_typeof(field.main) = 'object'
              and main.types_fine
              and coalesce(
                least(
                  octet_length(main.musicbrainz_artist_id), octet_length(main.wikidata_qid), octet_length(main.spotify_id),
                  octet_length(main.apple_music_id), octet_length(main.bandcamp_id)
                ) > 0,
                true
              )
              and coalesce(
                greatest(
                  octet_length(main.musicbrainz_artist_id), octet_length(main.wikidata_qid), octet_length(main.spotify_id),
                  octet_length(main.apple_music_id), octet_length(main.bandcamp_id)
                ) <= 512
                or greatest(
                  char_length(main.musicbrainz_artist_id), char_length(main.wikidata_qid), char_length(main.spotify_id),
                  char_length(main.apple_music_id), char_length(main.bandcamp_id)
                ) <= 512,
                true
              )
              and not (strict_bands and provenance.out_of_band > 0)
            when 'compilation' then field.main is null and coalesce(field.method = any (methods), true)
            when 'unresolved' then field.main is null and field.method is null
            else false
          end,
        false
      ) as fine
    from (
      select
        raw.ordinal,
        -- 7.0 is the integer seven, 7.5 is none, and 1e400 must not reach the cast.
        case
          when raw.library_id between '-2147483648' and '2147483647'
            and trunc(raw.library_id::numeric) = raw.library_id::numeric
          then raw.library_id::integer
        end as id,
        raw.kind,
        raw.main,
        raw.method,
        raw.confidence,
        case
        when raw.confidence between '0.000001' and '1' then raw.confidence::numeric::real
        when raw.confidence between '0' and '1' then round(raw.confidence::numeric, 12)::real
      end as composed,
        case when jsonb_typeof(raw.provenance) = 'array' then raw.provenance end as legs,
        coalesce(jsonb_typeof(raw.tracks_attempted) = 'boolean', true)
          and coalesce(jsonb_typeof(raw.tracks) = 'array', true) as tracks_fine,
        -- Whether the track matcher has visited the row can be said under version 1 alone; entries speak for a visit.
        tracks_contract_version = '1' and (raw.tracks_attempted = 'true' or raw.tracks <> '[]') as is_visited
      from (
        select listed.ordinal, field.*
        from jsonb_array_elements(results) with ordinality as listed (verdict, ordinal)
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
      ) as raw
      offset 0
    ) as field
    cross join lateral (
      select
        raw.discogs_artist_id,
        raw.musicbrainz_artist_id #>> '{}' as musicbrainz_artist_id,
        raw.wikidata_qid #>> '{}' as wikidata_qid,
        raw.spotify_artist_id #>> '{}' as spotify_id,
        raw.apple_music_artist_id #>> '{}' as apple_music_id,
        raw.bandcamp_id #>> '{}' as bandcamp_id,
        case
          when raw.discogs_artist_id is null then true
          when raw.discogs_artist_id between '1' and '2147483647'
          then trunc(raw.discogs_artist_id::numeric) = raw.discogs_artist_id::numeric
          else false
        end
          and coalesce(jsonb_typeof(raw.musicbrainz_artist_id) = 'string', true)
          and coalesce(jsonb_typeof(raw.wikidata_qid) = 'string', true)
          and coalesce(jsonb_typeof(raw.spotify_artist_id) = 'string', true)
          and coalesce(jsonb_typeof(raw.apple_music_artist_id) = 'string', true)
          and coalesce(jsonb_typeof(raw.bandcamp_id) = 'string', true) as types_fine
      from jsonb_to_record(case when jsonb_typeof(field.main) = 'object' then field.main else '{}' end) as raw (
        discogs_artist_id jsonb,
        musicbrainz_artist_id jsonb,
        wikidata_qid jsonb,
        spotify_artist_id jsonb,
        apple_music_artist_id jsonb,
        bandcamp_id jsonb
      )
      offset 0
    ) as main
    cross join lateral (
      select
        bool_and(coalesce(
          banded.source_bit is not null
            and case
              when banded.in_band is not null
              then banded.external_type = 'string'
              and banded.external_id <> ''
              -- What is short in bytes is short in characters, which take longer to count.
              and (octet_length(banded.external_id) <= 512 or char_length(banded.external_id) <= 512)
              when banded.confidence_type = 'null'
              then banded.external_type = 'null' and coalesce(banded.method = any (methods), true)
            end,
          false
        )) as fine,
        array_agg(
          row(
            banded.source, banded.external_id, banded.method, banded.share::real, not banded.in_band
          )::identity_sync_private.judged_source
        ) filter (where banded.share is not null) as named,
        sum(banded.source_bit) filter (where banded.share is not null)
          <> bit_or(banded.source_bit) filter (where banded.share is not null) as has_duplicate,
        count(*) filter (where banded.confidence_type = 'null') as null_confidence,
        count(*) filter (where not banded.in_band) as out_of_band
      from (
        select
          leg.*,
          -- The wire's bands, with a tolerance of 0.00001, since confidences are float4 on the other side.
          -- An unknown method, or no proper confidence, is in no band and out of none.
          case leg.method
            when 'exact_match' then leg.share >= 0.99999
            when 'cross_source_agreement' then leg.share >= 0
            when 'name_variation' then leg.share between 0.89999 and 0.99001
            when 'alias_match' then leg.share between 0.74999 and 0.84001
            when 'trigram' then leg.share >= 0.69999
            when 'member_group' then leg.share between 0.79999 and 0.89001
            when 'llm' then leg.share between 0.59999 and 0.79001
            when 'manual' then leg.share >= 0.99999
          end as in_band
        from (
          select
            raw.source,
            raw.method,
            -- A bit a source: their sum differs from their union exactly where one source is named twice.
            case raw.source
              when 'discogs' then 1
              when 'musicbrainz' then 2
              when 'wikidata' then 4
              when 'spotify' then 8
              when 'apple_music' then 16
              when 'bandcamp' then 32
            end as source_bit,
            raw.external_id #>> '{}' as external_id,
            coalesce(jsonb_typeof(raw.external_id), 'null') as external_type,
            coalesce(jsonb_typeof(raw.confidence), 'null') as confidence_type,
            -- What is next to nothing is rounded, or it would be out of range for real.
          case
            when raw.confidence between '0.000001' and '1' then raw.confidence::numeric
            when raw.confidence between '0' and '1' then round(raw.confidence::numeric, 12)
          end as share
          from (
            select
              listed.entry ->> 'source' as source,
              listed.entry ->> 'method' as method,
              listed.entry -> 'external_id' as external_id,
              listed.entry -> 'confidence' as confidence
            from jsonb_array_elements(field.legs) as listed (entry)
            offset 0
          ) as raw
          offset 0
        ) as leg
        offset 0
      ) as banded
    ) as provenance
    offset 0
  ) as verdict
  left join wxyc_schema.library on library.id = verdict.id and are_all_there is not true;

  if has_repeated then
    judged := identity_sync_private.mark_repeated(judged);
  end if;

  if has_repeated or answered_count < cardinality(requested) then
    judged := judged || array(
      select
        identity_sync_private.bare_verdict(
          null, asked.id, case when library.id is null then 'library_gone' else 'lml_cardinality_mismatch' end
        )
      from unnest(requested) as asked (id)
      left join wxyc_schema.library on library.id = asked.id
      where not exists (select from unnest(judged) as verdict where verdict.library_id = asked.id)
      order by asked.id
    );
  end if;

  return judged;
end;
$$;

revoke all on function identity_sync_private.judge_identity_verdicts(jsonb, integer[], boolean, jsonb) from public;

comment on function identity_sync_private.judge_identity_verdicts(jsonb, integer[], boolean, jsonb) is
  'Takes LML''s results as a JSON array, the distinct ids that were asked (NULL: trust every id), whether a confidence outside its method''s band refuses its verdict, and the tracks_contract_version of the answer; returns one judged verdict a result and one an id without a result, NULL where there is neither. The rules are the wire contract''s.';
