-- Judges each result of an answer on its own, by the wire contract (sql/wire.md) alone, and writes nothing.
-- A valid verdict comes back typed and ready to be written; any other carries its outcome only.
-- The many valid verdicts pay for one cheap expression, and explain_refusal finds the reason for the few others.
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
set jit = off
-- No plan depends on a value here, and a plan made again for each batch took 2 of 19 µs a verdict.
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Nearly always every requested id is still there, and one count is cheaper than 500 lookups.
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
          when not verdict.is_requested then 'lml_untrusted_library_id'
          when library.id is null and are_all_there is not true then 'library_gone'
          when not verdict.is_valid then 'invalid_verdict'
          when verdict.kind = 'single_artist' then 'resolved'
          when verdict.kind = 'compilation' and verdict.is_visited then 'resolved_compilation'
          else verdict.kind
        end,
        -- What a refused verdict holds may be megabytes, and is not looked at again.
        case when verdict.is_valid then verdict.discogs_artist_id::integer end,
        case when verdict.is_valid then verdict.musicbrainz_text end,
        case when verdict.is_valid then verdict.wikidata_text end,
        case when verdict.is_valid then verdict.spotify_text end,
        case when verdict.is_valid then verdict.apple_music_text end,
        case when verdict.is_valid then verdict.bandcamp_text end,
        case when verdict.is_valid then verdict.method end,
        verdict.confidence,
        case when verdict.is_valid then verdict.sources end,
        verdict.null_confidence,
        case when verdict.has_duplicate then cardinality(verdict.named) - cardinality(verdict.sources) else 0 end,
        case
          when verdict.has_duplicate
          then (select count(*) from unnest(verdict.sources) as source where source.out_of_band)
          else verdict.out_of_band
        end,
        null, null, null,
        case
          when verdict.has_duplicate
          then (
            select count(*)
            from unnest(verdict.sources) as source
            where identity_sync_private.source_bit(source.source) is null or source.out_of_band is null
          )
          else verdict.unknown
        end
      )::identity_sync_private.judged_verdict
    ),
    count(verdict.id) > count(distinct verdict.id),
    count(*) filter (where verdict.is_requested)
  into judged, has_repeated, answered_count
  from (
    select
      field.*,
      main.*,
      provenance.*,
      case
        when provenance.has_valid_legs and provenance.has_duplicate
        then identity_sync_private.best_judged_sources(provenance.named)
        else provenance.named
      end as sources,
      -- The order is promised, so most ids are found at their own place.
      coalesce(requested is null or requested[field.ordinal] = field.id, false)
        or field.id in (select unnest(requested)) as is_requested,
      coalesce(
        field.legs is not null
          and coalesce(provenance.has_valid_legs, true)
          and field.has_valid_tracks
          and (field.stated_confidence is null or field.confidence is not null)
          and case field.kind
            when 'single_artist'
            then field.confidence is not null
              and identity_sync_private.may_be_method(field.method, strict_bands)
              and jsonb_typeof(field.main) = 'object'
              and (main.discogs_artist_id is null or identity_sync_private.is_integer(main.discogs_artist_id, 1))
              and identity_sync_private.is_identifier_or_null(main.musicbrainz_text)
              and identity_sync_private.is_identifier_or_null(main.wikidata_text)
              and identity_sync_private.is_identifier_or_null(main.spotify_text)
              and identity_sync_private.is_identifier_or_null(main.apple_music_text)
              and identity_sync_private.is_identifier_or_null(main.bandcamp_text)
              and not (strict_bands and provenance.out_of_band > 0)
              and (
                main.discogs_artist_id is not null
                or provenance.named is not null
                or num_nonnulls(
                  main.musicbrainz_text, main.wikidata_text, main.spotify_text, main.apple_music_text,
                  main.bandcamp_text
                ) > 0
              )
            when 'compilation'
            then field.main is null
              and coalesce(identity_sync_private.may_be_method(field.method, strict_bands), true)
            when 'unresolved' then field.main is null and field.method is null
            else false
          end,
        false
      ) as is_valid
    from (
      select
        raw.ordinal,
        case when identity_sync_private.is_integer(raw.library_id, -2147483648) then raw.library_id::integer end as id,
        identity_sync_private.text_of(raw.kind) as kind,
        raw.main,
        identity_sync_private.text_of(raw.method) as method,
        raw.confidence as stated_confidence,
        identity_sync_private.read_confidence(raw.confidence)::real as confidence,
        case when jsonb_typeof(raw.provenance) = 'array' then raw.provenance end as legs,
        coalesce(jsonb_typeof(raw.tracks_attempted) = 'boolean', true)
          and coalesce(jsonb_typeof(raw.tracks) = 'array', true) as has_valid_tracks,
        -- Only version 1 says whether the track matcher has visited the row; entries prove a visit.
        tracks_contract_version = '1' and (raw.tracks_attempted = 'true' or raw.tracks <> '[]') as is_visited
      from (
        select listed.ordinal, field.*
        from jsonb_array_elements(results) with ordinality as listed (verdict, ordinal)
        cross join lateral jsonb_to_record(
          case when jsonb_typeof(listed.verdict) = 'object' then listed.verdict else '{}' end
        ) as field (
          library_id jsonb,
          kind jsonb,
          main jsonb,
          method jsonb,
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
        raw.*,
        identity_sync_private.text_of(raw.musicbrainz_artist_id) as musicbrainz_text,
        identity_sync_private.text_of(raw.wikidata_qid) as wikidata_text,
        identity_sync_private.text_of(raw.spotify_artist_id) as spotify_text,
        identity_sync_private.text_of(raw.apple_music_artist_id) as apple_music_text,
        identity_sync_private.text_of(raw.bandcamp_id) as bandcamp_text
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
          (leg.source_bit is not null or identity_sync_private.is_elastic(leg.source, strict_bands))
            and case
              when leg.confidence is not null
              then leg.external_id is not null
                and identity_sync_private.is_identifier_or_null(leg.external_id)
                -- Each known method has a band.
                and (leg.in_band is not null or identity_sync_private.is_elastic(leg.method, strict_bands))
              when leg.has_no_confidence
              then leg.external_id is null
                and coalesce(identity_sync_private.may_be_method(leg.method, strict_bands), true)
            end,
          false
        )) as has_valid_legs,
        array_agg(
          row(
            leg.source, leg.external_id, leg.method, leg.confidence::real, not leg.in_band
          )::identity_sync_private.judged_source
        ) filter (where leg.confidence is not null) as named,
        -- Unknown sources have no bit: two of them may be one.
        sum(leg.source_bit) filter (where leg.confidence is not null)
          <> bit_or(leg.source_bit) filter (where leg.confidence is not null)
          or count(leg.confidence) filter (where leg.source_bit is null) > 1 as has_duplicate,
        count(*) filter (where leg.has_no_confidence) as null_confidence,
        count(*) filter (where not leg.in_band) as out_of_band,
        count(leg.confidence) filter (where leg.source_bit is null or leg.in_band is null) as unknown
      from (
        select
          read.*,
          identity_sync_private.source_bit(read.source) as source_bit,
          identity_sync_private.is_in_band(read.method, read.confidence) as in_band
        from (
          select
            identity_sync_private.text_of(raw.source) as source,
            identity_sync_private.text_of(raw.method) as method,
            identity_sync_private.text_of(raw.external_id) as external_id,
            coalesce(jsonb_typeof(raw.confidence), 'null') = 'null' as has_no_confidence,
            identity_sync_private.read_confidence(raw.confidence) as confidence
          from (
            select
              listed.entry -> 'source' as source,
              listed.entry -> 'method' as method,
              listed.entry -> 'external_id' as external_id,
              listed.entry -> 'confidence' as confidence
            from jsonb_array_elements(field.legs) as listed (entry)
            offset 0
          ) as raw
          offset 0
        ) as read
        offset 0
      ) as leg
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
  'Takes LML''s results as a JSON array, the distinct ids that were requested (NULL: trust every id), whether a confidence outside its method''s band refuses its verdict, and the tracks_contract_version of the answer; returns one judged verdict a result and one an id without a result, NULL where there is neither.';
