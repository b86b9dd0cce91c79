--! Previous: sha1:8db8e34a5c89c3fce9592c3dacd0c9e156093309
--! Hash: sha1:00bf2346f3cc010d19efb5e0dad5fe5781f9b819
--! Message: Taking back, the brake and check

-- The next migration begins here.

-- Its source rows have a function of their own now, so that no statement is issued where nothing changes.
drop function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
);

-- It is told whether LML's address is set, too.
drop function identity_sync.identity_check(text[], timestamptz, text);
drop function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
);

drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, integer[], bigint, bigint
);

--! Included functions/wire/read_identity_answer.sql
-- Reads an answer as it came off the wire, so that one value that jsonb refuses costs one verdict, not 500: its result
-- is set aside as text, under its number (an escaped NUL, a lone surrogate, a number out of bounds). An answer too rich
-- is none, since its values are parsed in memory, and each result that was not asked is quarantined.
create or replace function identity_sync.read_identity_answer(body text, asked integer default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- LML's answer for 1,000 compilations has 11 MB.
  most_bytes constant integer := 24000000;
  -- A number takes 32 bytes to parse, an empty array 250, an empty object 600. LML's 11 MB have 400,000 values.
  most_values constant integer := case when asked is null then 4000000 else 2000000 end;
  most_results constant integer := 150000 + asked;
  is_salvaged boolean := false;
  answer jsonb;
  results integer;
begin
  -- Editors that save a byte order mark do not show it.
  if starts_with(body, E'\ufeff') then
    body := substr(body, 2);
  end if;
  if octet_length(body) > most_bytes and asked is not null then
    return null;
  end if;
  -- What is small holds fewer.
  if octet_length(body) > most_values
    and 3::bigint * octet_length(body) - octet_length(replace(body, ',', '')) - octet_length(replace(body, '[', ''))
      - octet_length(replace(body, '{', '')) > most_values
  then
    return null;
  end if;
  begin
    answer := body::jsonb;
  exception
    when others then
      answer := null;
  end;
  if answer is null then
    is_salvaged := true;
    -- Salvaging takes several times what reading does; a batch whose answer is refused is cut in two in the end.
    if octet_length(body) > 16000000 then
      return null;
    end if;
    answer := identity_sync_private.salvage_identity_answer(body);
  end if;
  if not identity_sync_private.is_identity_answer(answer) then
    return null;
  end if;
  -- The jsonpath counts in place.
  results := case jsonb_typeof(answer)
    when 'array' then jsonb_array_length(answer)
    else jsonb_path_query_first(answer, '$.results.size()')::integer
  end;
  if results > most_results then
    return null;
  end if;
  -- Only salvaging says what is set aside; a key of that name in LML's answer means nothing.
  if not is_salvaged and jsonb_typeof(answer) = 'object' and answer ? 'set_aside' then
    answer := answer - 'set_aside';
  end if;
  return answer;
end;
$$;

revoke all on function identity_sync.read_identity_answer(text, integer) from public;

comment on function identity_sync.read_identity_answer(text, integer) is
  'Takes the text of an answer, and how many ids were asked (NULL: any number); returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer, has 4,000,000 commas and opening brackets, or where ids were asked 2,000,000, 24 MB or 150,000 results more than these, or has 16 MB and is refused by jsonb.';
--! EndIncluded functions/wire/read_identity_answer.sql
--! Included functions/judge/explain_refusal.sql
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
--! EndIncluded functions/judge/explain_refusal.sql
--! Included functions/judge/judge_identity_verdicts.sql
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
--! EndIncluded functions/judge/judge_identity_verdicts.sql
--! Included functions/candidates/is_short_attempt.sql
-- Whether an attempt holds a row back for no longer than an identity does: a person may have released the row since,
-- or LML may have read its tracks. Any other attempt was in vain, and lasts for the retry window.
create or replace function identity_sync_private.is_short_attempt(outcome text)
returns boolean
language sql immutable parallel safe
return outcome in ('manual_precedence', 'compilation_unread');

revoke all on function identity_sync_private.is_short_attempt(text) from public;

comment on function identity_sync_private.is_short_attempt(text) is
  'Takes the outcome of an attempt or NULL; returns whether it runs out after stale_days, and not after unresolved_retry_days, NULL for NULL.';
--! EndIncluded functions/candidates/is_short_attempt.sql
--! Included functions/candidates/due_libraries.sql
-- Finds the libraries that are due and why: never asked, released, in vain long enough ago, with a stale identity, or
-- asked by another name than they have now, which may come on top. A time ahead of the clock holds nothing back. Each
-- kind is looked for where it is rare, in a statement of its own, so that PostgreSQL may read in parallel.
create or replace function identity_sync_private.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean,
  library_ids integer[] default null
)
returns table (library_id integer, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- A plan for all libraries is no plan for one.
set plan_cache_mode = force_custom_plan
-- The indexes bring the rows in the order of their ids, so that they need only be merged. Hashing a million of them
-- takes twice the processor's time.
set enable_hashjoin = off
set jit = off
set work_mem = '64MB'
as $$
begin
  return query
  select asked_as.library_id, 'renamed'
  from identity_sync.asked_as
  join wxyc_schema.library on library.id = asked_as.library_id
  where asked_as.fingerprint
      is distinct from identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    and (library_ids is null or asked_as.library_id = any (library_ids));

  return query
  select library.id, 'never_asked'
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)
    and (library_ids is null or library.id = any (library_ids))

  union all
  select attempt.library_id, case attempt.outcome when 'released' then 'released' else 'in_vain' end
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where (library_ids is null or attempt.library_id = any (library_ids))
    and (
      attempt.outcome = 'released'
      or attempt.outcome <> 'held'
      and (
        attempt.attempted_at <= case
          when identity_sync_private.is_short_attempt(attempt.outcome) then stale_before
          else retry_before
        end
        or not identity_sync_private.is_plausible_time(attempt.attempted_at)
        -- What a person had set went with its row, or to another library.
        or attempt.outcome = 'manual_precedence' and identity.library_id is null
      )
      and case
        when identity.library_id is null then library.canonical_entity_id is not null or include_null_canonical
        else identity.last_verified_at <= stale_before
          or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      end
    )

  union all
  select identity.library_id, 'stale'
  from wxyc_schema.library_identity as identity
  where (
      identity.last_verified_at <= stale_before
      or not identity_sync_private.is_plausible_time(identity.last_verified_at)
    )
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id)
    and (library_ids is null or identity.library_id = any (library_ids));
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count, and the library ids to look at (NULL: all); returns the libraries that are due and why (never_asked, released, in_vain, stale, or renamed, also of one that is due for another reason).';
--! EndIncluded functions/candidates/due_libraries.sql
--! Included functions/write/record_attempts.sql
-- Keeps an attempt for every answer that left no fresh identity, and removes that of every library that got one.
-- An attempt newer than this answer stays, in whichever order the two arrive. No attempt replaces a hold, no refusal a
-- release, and that of a repair, as a rule a typing mistake, is no attempt.
create or replace function identity_sync_private.record_attempts(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz,
  is_repair boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  refused constant text[] := array['invalid_verdict', 'writer_error'];
  kept constant text[] := array['unresolved', 'compilation', 'resolved_compilation', 'manual_precedence']
    || case when is_repair then '{}'::text[] else refused end;
begin
  if exists (select from unnest(verdicts) as verdict where verdict.outcome = any (kept)) then
    insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id)
    select
      verdict.library_id,
      -- Its tracks were visited or not: either way LML has no more to say before the retry window is over, unless it
      -- has linked them before, and so could not read its store.
      case
        when verdict.outcome = 'resolved_compilation' then 'compilation'
        when verdict.outcome = 'compilation'
          and exists (
            select
            from wxyc_schema.compilation_track_artist as credit
            where credit.library_id = verdict.library_id and credit.track_artist_link_method <> 'librarian'
          )
        then 'compilation_unread'
        else verdict.outcome
      end,
      record_attempts.verified_at,
      record_attempts.settlement_id
    from unnest(verdicts) as verdict
    where verdict.outcome = any (kept)
      and verdict.library_id is not null
      -- A row set by hand holds against older answers too, but only a newer one is an attempt.
      and case verdict.outcome
        when 'manual_precedence' then (
          select
            held.last_verified_at <= record_attempts.verified_at
            or not identity_sync_private.is_plausible_time(held.last_verified_at)
          from wxyc_schema.library_identity as held
          where held.library_id = verdict.library_id
        )
        else true
      end
    order by verdict.library_id
    on conflict (library_id) do update
    set
      outcome = excluded.outcome,
      attempted_at = excluded.attempted_at,
      settlement_id = excluded.settlement_id
    where (
        known.attempted_at <= excluded.attempted_at
        or record_attempts.is_repair
        or not identity_sync_private.is_plausible_time(known.attempted_at)
      )
      and known.outcome <> 'held'
      and not (known.outcome = 'released' and excluded.outcome = any (refused));
  end if;

  delete from identity_sync.attempt as known
  where known.library_id = any (
      array(select verdict.library_id from unnest(verdicts) as verdict where verdict.outcome = 'resolved')
    )
    and (
      known.attempted_at <= record_attempts.verified_at
      or record_attempts.is_repair
      or not identity_sync_private.is_plausible_time(known.attempted_at)
    );
end;
$$;

revoke all on function identity_sync_private.record_attempts(
  identity_sync_private.judged_verdict[], timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.record_attempts(
  identity_sync_private.judged_verdict[], timestamptz, boolean, bigint
) is
  'Takes verdicts with their final outcomes, the time of the answer, whether a repair by hand overrides newer attempts, and the settlement; keeps and removes attempts.';
--! EndIncluded functions/write/record_attempts.sql
--! Included functions/write/record_settlement.sql
-- Records one call of the writer: what it reported, what undoing it needs, and what the gauges of the brake counted:
-- rows that held an identity or were never asked before, verdicts that were judged, and identities that were there, but
-- for renamed rows, which ask for another artist, and for what a run had written that the gauge of changed identities
-- stopped. The memory of what the brake may take back is kept for the service alone.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempts_before jsonb,
  written identity_sync_private.write_result,
  report jsonb,
  unknown_names text[],
  renamed_ids integer[],
  run_id bigint,
  batch_id bigint,
  is_answer boolean
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
-- The planner expects a tenth of the verdicts that come, and would compare each with each.
set enable_nestloop = off
as $$
declare
  scanned constant integer := cardinality(written.verdicts);
  settled record;
begin
  select
    array_agg(counted.library_id) filter (where counted.action = 'inserted') as inserted_ids,
    count(*) filter (where counted.unresolved) as unresolved,
    count(*) filter (where counted.unresolved and counted.outcome = 'unresolved') as unresolved_seen,
    array_agg(counted.library_id) filter (where counted.unresolved) as unresolved_ids,
    count(*) filter (where counted.is_judged) as refused,
    count(*) filter (where counted.outcome in ('invalid_verdict', 'writer_error')) as refused_seen,
    array_agg(counted.library_id) filter (where counted.is_judged and counted.library_id is not null) as refused_ids,
    count(*) filter (where counted.changed) as changed,
    count(*) filter (where counted.changed and counted.is_another) as changed_seen,
    array_agg(counted.library_id) filter (where counted.changed) as changed_ids
  into settled
  from (
    select
      verdict.library_id,
      verdict.outcome,
      verdict.action,
      coalesce(attempted.held_identity, true)
        and verdict.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved') as unresolved,
      verdict.outcome not in (
        'lml_error', 'lml_cardinality_mismatch', 'lml_untrusted_library_id', 'library_gone'
      ) as is_judged,
      verdict.action in ('changed', 'unchanged')
        and verdict.library_id <> all (renamed_ids)
        and former.is_doubted is not true as changed,
      -- An id that comes or goes names no other artist.
      former.discogs_artist_id <> verdict.discogs_artist_id
        or former.musicbrainz_artist_id <> verdict.musicbrainz_artist_id
        or former.wikidata_qid <> verdict.wikidata_qid
        or former.spotify_id <> verdict.spotify_id
        or former.apple_music_id <> verdict.apple_music_id
        or former.bandcamp_id <> verdict.bandcamp_id as is_another
    from unnest(written.verdicts) as verdict
    left join jsonb_to_recordset(attempts_before) as attempted (library_id integer, held_identity boolean)
      on attempted.library_id = verdict.library_id
    left join (
      select
        known.*,
        known.last_verified_at in (
          select doubted.verified_at
          from identity_sync.settlement as doubted
          where doubted.run_id = any (array(select run.run_id from identity_sync.run where run.braked_by = 'changed'))
        ) as is_doubted
      from wxyc_schema.library_identity_history as known
      where known.history_id = any (written.history_ids)
      offset 0
    ) as former
      on former.library_id = verdict.library_id
    -- The fence: without it each count judges the outcome again.
    offset 0
  ) as counted;

  insert into identity_sync.settlement (
    settlement_id, run_id, batch_id, is_answer, origin, verified_at, requested, unrequested, report, unknown_names,
    inserted_ids, history_ids, linked_credit_ids, positioned_credit_ids, written_by,
    unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen
  )
  overriding system value
  values (
    record_settlement.settlement_id, record_settlement.run_id, record_settlement.batch_id,
    record_settlement.is_answer, record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report, coalesce(record_settlement.unknown_names, '{}'),
    coalesce(settled.inserted_ids, '{}'), written.history_ids,
    written.linked_credit_ids, written.positioned_credit_ids, coalesce(written.written_by, '{}'),
    settled.unresolved, settled.unresolved_seen, settled.refused, settled.refused_seen,
    settled.changed, settled.changed_seen
  );

  if settled.refused > 0 and not identity_sync_private.is_repair(origin) then
    insert into identity_sync.brake_memory (
      settlement_id, unresolved_ids, refused_ids, changed_ids, attempts_before
    )
    values (
      record_settlement.settlement_id, coalesce(settled.unresolved_ids, '{}'), coalesce(settled.refused_ids, '{}'),
      coalesce(settled.changed_ids, '{}'), record_settlement.attempts_before
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, text[],
  integer[], bigint, bigint, boolean
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, text[],
  integer[], bigint, bigint, boolean
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, the report, what LML named that is unknown (NULL: not looked for), the ids that were renamed since they were asked last, the run and the batch (NULL: a call by hand) that it belongs to, and whether LML was asked; records them.';
--! EndIncluded functions/write/record_settlement.sql
--! Included functions/write/settle_verdicts.sql
-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run: judges each verdict,
-- writes the good ones, quarantines the bad ones and returns the report. A library is written whole or not at all, and
-- costs no other its verdict. Each call is a settlement, and belongs to a run.
create or replace function identity_sync_private.settle_verdicts(
  response jsonb,
  requested integer[],
  origin text,
  verified_at timestamptz,
  strict_bands boolean,
  asked_as bigint[] default null,
  run_id bigint default null,
  batch_id bigint default null,
  chosen integer[] default null,
  is_answer boolean default true
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
set jit = off
as $$
declare
  stated_origin constant text := coalesce(origin, identity_sync_private.repair_origin(session_user));
  is_repair constant boolean := identity_sync_private.is_repair(stated_origin);
  requested_ids constant integer[] := (
    select coalesce(array_agg(distinct named.id), case when requested is not null then '{}'::integer[] end)
    from unnest(requested) as named (id)
    where named.id is not null
  );
  results constant jsonb := identity_sync_private.results_of(response);
  set_aside constant jsonb := case when jsonb_typeof(response) = 'object' then response -> 'set_aside' end;
  -- Only a whole answer carries a version, and without one nothing can be said about tracks.
  tracks_contract_version constant jsonb := case
    when jsonb_typeof(response) = 'object' and response ? 'results' then response -> 'tracks_contract_version'
  end;
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  judged identity_sync_private.judged_verdict[];
  judged_ids integer[];
  attempts_before jsonb;
  resolvable identity_sync_private.judged_verdict[];
  visited identity_sync_private.judged_verdict[];
  others identity_sync_private.judged_verdict[];
  written identity_sync_private.write_result;
  renamed_ids integer[] := '{}'::integer[];
  report jsonb;
begin
  perform identity_sync_private.validate_application(stated_origin, verified_at, strict_bands);
  if results is null and requested_ids is null then
    raise exception using
      errcode = 'LS003',
      message = 'the response is no answer of LML',
      detail = format('It is %s.', coalesce(left(response::text, 200), 'no JSON')),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;

  if results is not null then
    judged := identity_sync_private.judge_identity_verdicts(
      results, requested_ids, strict_bands, tracks_contract_version
    );
    if chosen is not null then
      judged := array(select verdict from unnest(judged) as verdict where verdict.library_id = any (chosen));
    end if;
    judged_ids := array(select verdict.library_id from unnest(judged) as verdict);
    -- An id that was not asked is held as well: its quarantine entry may be written.
    perform identity_sync_private.lock_identities(judged_ids);
    if asked_as is not null and not is_repair then
      judged := identity_sync_private.mark_renamed(judged, requested, asked_as);
    end if;
    -- A join would be planned while library_identity is empty, and once it is full read all of it for each attempt.
    select
      jsonb_agg(
        to_jsonb(attempt)
          || jsonb_build_object(
            'held_identity',
            (select count(*) = 1 from wxyc_schema.library_identity as known where known.library_id = attempt.library_id)
          )
      )
    into attempts_before
    from identity_sync.attempt
    where attempt.library_id = any (judged_ids);
    -- Hardly any library was ever released, or is held.
    if not is_repair and attempts_before @? '$[*].released_at ? (@ != null)' then
      judged := identity_sync_private.mark_overtaken(judged, verified_at);
    end if;
  else
    judged := array(
      select identity_sync_private.bare_verdict(null, unanswered.id, 'lml_error')
      from unnest(requested_ids) as unanswered (id)
    );
  end if;

  select
    array_agg(verdict) filter (where verdict.outcome = 'resolved'),
    array_agg(verdict) filter (where verdict.outcome = 'resolved_compilation'),
    array_agg(verdict) filter (where verdict.outcome not in ('resolved', 'resolved_compilation'))
  into resolvable, visited, others
  from unnest(judged) as verdict;
  if not is_repair then
    others := identity_sync_private.mark_overtaken(others, verified_at);
  end if;

  if not is_repair then
    -- The backend gives a deletion up after 750 ms, so that a write which waits for one row soon lets go of the others.
    perform set_config('lock_timeout', '500ms', true);
  end if;
  written := identity_sync_private.add_write_results(
    identity_sync_private.write_or_bisect(resolvable, results, stated_origin, verified_at, this_settlement),
    identity_sync_private.write_or_bisect(visited, results, stated_origin, verified_at, this_settlement)
  );
  -- Every result, and every id without one, has exactly one outcome from here on.
  written.verdicts := written.verdicts || others;

  perform identity_sync_private.record_attempts(written.verdicts, verified_at, is_repair, this_settlement);
  -- What a person says by hand answers no question.
  if results is not null and not is_repair then
    renamed_ids := identity_sync_private.remember_questions(
      written.verdicts, requested, coalesce(asked_as, identity_sync_private.current_fingerprints(requested))
    );
  end if;
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempts_before, written, report,
    case
      when batch_id is not null
      then identity_sync_private.unknown_names(results, report ->> 'source_rows_unknown' <> '0')
    end,
    renamed_ids, run_id, batch_id, is_answer
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[], boolean
) from public;

comment on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[], boolean
) is
  'Takes what apply_identity_verdicts takes, the run and the batch that the settlement belongs to, the libraries it is limited to (NULL: all), and whether LML was asked at all; returns the report. Raises what apply_identity_verdicts raises.';
--! EndIncluded functions/write/settle_verdicts.sql
--! Included functions/run/stop_identity_run.sql
-- Stops a run for its first cause: batches that no lane holds are abandoned and stay due, and calls in flight finish.
-- Stopping it once more abandons what was opened again or lost its lease since. With opened_by, a process stops only a
-- run that it opened itself; one that it merely joined goes on.
create or replace function identity_sync.stop_identity_run(
  run_id bigint,
  reason text,
  opened_by text default null,
  cause text default 'hand'
)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  stated constant text := coalesce(
    reason,
    case cause
      when 'deadline' then 'its deadline has passed, what is left is due next time'
      when 'budget' then 'its budget of calls is used up, what is left is due next time'
    end
  );
begin
  perform identity_sync_private.check_reason(stated);

  update identity_sync.run
  set stop_reason = coalesce(run.stop_reason, stated), stop_cause = coalesce(run.stop_cause, cause)
  where run.run_id = stop_identity_run.run_id
    and run.finished_at is null
    and (stop_identity_run.opened_by is null or run.opened_by = stop_identity_run.opened_by);

  if not found then
    return false;
  end if;

  -- A batch that another session holds is being claimed or finished right now.
  update identity_sync.batch
  set state = 'abandoned', leased_by = null, leased_until = null, closed_at = clock_timestamp()
  where batch.batch_id in (
    select unheld.batch_id
    from identity_sync.batch as unheld
    where unheld.run_id = stop_identity_run.run_id
      and (
        unheld.state = 'open'
        or unheld.closed_at is null and unheld.leased_until < clock_timestamp() and unheld.answer is null
      )
    for update skip locked
  );

  perform identity_sync_private.close_identity_run(run_id);
  return true;
end;
$$;

revoke all on function identity_sync.stop_identity_run(bigint, text, text, text) from public;

comment on function identity_sync.stop_identity_run(bigint, text, text, text) is
  'Takes a run, the reason (NULL: as the cause deadline or budget has it), who must have opened the run (NULL: anybody), and the cause (hand, deadline, budget, key, brake, breaker); abandons every batch that no lane holds, and ends the run once no call is in flight. Returns false where no such run is open. Raises LS001 for an empty reason.';
--! EndIncluded functions/run/stop_identity_run.sql
--! Included functions/run/take_back_marks.sql
-- Makes the marks and the quarantine of the rows that a gauge counted what they were before these answers, so that the
-- rows are due. A mark or an entry that anybody has changed since stays as it is.
create or replace function identity_sync_private.take_back_marks(settlement_ids bigint[], gauge text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  memory record;
  lifted_ids integer[];
  closed_ids integer[];
  untouched_ids integer[];
begin
  for memory in
    select
      kept.settlement_id,
      kept.attempts_before,
      settlement.verified_at,
      case gauge
        when 'unresolved' then kept.unresolved_ids
        when 'refused' then kept.refused_ids
        else kept.changed_ids
      end as library_ids
    from identity_sync.brake_memory as kept
    join identity_sync.settlement on settlement.settlement_id = kept.settlement_id
    where kept.settlement_id = any (settlement_ids)
    order by kept.settlement_id
  loop
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    select coalesce(array_agg(lifted.library_id), '{}')
    into lifted_ids
    from lifted;

    -- A row that loses its mark has got no answer that counts, so it forgets what it was asked by.
    update identity_sync.asked_as
    set fingerprint = null
    where asked_as.library_id = any (lifted_ids)
      -- The mark of an identity is its own time, which stays with what was written.
      or gauge = 'changed' and asked_as.library_id = any (memory.library_ids);

    with closed as (
      update identity_sync.quarantined_verdict as entry
      set closed_at = clock_timestamp(), closed_reason = 'taken back by the brake'
      where entry.settlement_id = memory.settlement_id
        and entry.closed_at is null
        and entry.outcome in ('invalid_verdict', 'writer_error')
        and (entry.library_id = any (memory.library_ids) or entry.library_id is null and gauge = 'refused')
      returning entry.library_id
    )
    select coalesce(array_agg(closed.library_id), '{}')
    into closed_ids
    from closed;

    -- A later answer has lifted or closed the other rows' by right.
    untouched_ids := lifted_ids || closed_ids || array(
      select known.library_id
      from wxyc_schema.library_identity as known
      where known.library_id = any (memory.library_ids) and known.last_verified_at = memory.verified_at
    );

    insert into identity_sync.attempt
    select before.*
    from jsonb_populate_recordset(null::identity_sync.attempt, memory.attempts_before) as before
    where before.library_id = any (memory.library_ids)
      and before.library_id = any (untouched_ids)
    order by before.library_id
    on conflict (library_id) do nothing;

    update identity_sync.quarantined_verdict as entry
    set closed_at = null, closed_reason = null, closed_by = null
    where entry.closed_by = memory.settlement_id
      and entry.library_id = any (memory.library_ids)
      and entry.library_id = any (untouched_ids)
      and not exists (
        select
        from identity_sync.quarantined_verdict as newer
        where newer.library_id = entry.library_id and newer.closed_at is null
      );
  end loop;
end;
$$;

revoke all on function identity_sync_private.take_back_marks(bigint[], text) from public;

comment on function identity_sync_private.take_back_marks(bigint[], text) is
  'Takes settlements and the gauge that counted their rows (unresolved, refused, changed); restores the attempts of these rows, closes the quarantine entries they made and opens those they closed.';
--! EndIncluded functions/run/take_back_marks.sql
--! Included functions/run/brake_identity_run.sql
-- The brake: what no healthy run shows stops it, since believing LML would freeze rows for a month or write a wrong
-- catalogue. Each gauge is measured in rows, over the latest answers that together hold 1,000 of its own, so that it
-- works alike for any batch size. It stops the run, takes back the marks of the rows counted, and holds planning.
create or replace function identity_sync_private.brake_identity_run(run_id bigint, batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  gauge text;
  suspects bigint[];
  counted bigint;
  share numeric;
  finding text;
begin
  -- Answers of one run are measured one after the other: one that misses the brake by a moment must be taken back.
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = brake_identity_run.run_id
  for no key update;

  if this_run.dry_run or this_run.scope in ('recheck', 'ids') then
    return;
  end if;

  if this_run.braked_by is null then
    select latest.gauge, array_agg(latest.settlement_id), sum(latest.counted), sum(latest.seen) / sum(latest.counted)
    into gauge, suspects, counted, share
    from (
      select
        reading.*,
        answer.settlement_id,
        sum(reading.counted) over (partition by reading.gauge order by answer.settlement_id desc) - reading.counted
          as newer_rows
      from (
        select settlement.*
        from identity_sync.settlement
        where settlement.run_id = brake_identity_run.run_id and settlement.refused_counted > 0
        order by settlement.settlement_id desc
        -- Each holds a row at least.
        limit 1000
      ) as answer
      cross join lateral (
        values
          ('unresolved', 0.95, answer.unresolved_counted, answer.unresolved_seen::numeric),
          ('refused', 0.50, answer.refused_counted, answer.refused_seen),
          ('changed', 0.20, answer.changed_counted, answer.changed_seen)
      ) as reading (gauge, threshold, counted, seen)
      where reading.counted > 0 and reading.gauge <> all (this_run.accept)
    ) as latest
    where latest.newer_rows < 1000
    group by latest.gauge, latest.threshold
    -- Two answers of 500 rows, or one of 1,000, hold all that is measured.
    having sum(latest.counted) >= case when count(*) >= 3 then 200 else 1000 end
      and sum(latest.seen) >= latest.threshold * sum(latest.counted)
      and (
        latest.gauge <> 'unresolved'
        or coalesce(
          sum(latest.seen) / sum(latest.counted)
            >= identity_sync_private.usual_unresolved_share(brake_identity_run.run_id) + 0.20,
          true
        )
      )
    order by latest.gauge
    limit 1;
    if gauge is null then
      return;
    end if;

    update identity_sync.run
    set braked_at = clock_timestamp(), braked_by = gauge
    where run.run_id = brake_identity_run.run_id and run.braked_by is null;
    if found then
      perform identity_sync_private.take_back_marks(suspects, gauge);
      finding := format(
        case gauge
          when 'unresolved' then '%s %% of the last %s rows came back unresolved: LML seems to be overloaded'
          when 'refused' then '%s %% of the last %s verdicts were refused: LML seems to keep another contract'
          else '%s %% of the last %s identities came back as another artist: LML seems to mix its artists up'
        end,
        round(share * 100), counted
      );
      insert into identity_sync.planning_hold as hold (name, reason, run_id, gauge, share)
      values ('brake', format('run %s: %s', run_id, finding), brake_identity_run.run_id, gauge, round(share, 4))
      on conflict (name) do update
      set
        reason = excluded.reason, run_id = excluded.run_id, gauge = excluded.gauge, share = excluded.share,
        since = excluded.since;
      perform identity_sync.stop_identity_run(
        run_id,
        format(
          '%s. Marks and quarantine of these rows are as they were before. To take back what was written: '
            'identity-sync undo --run %s. Where the answers are right: identity-sync run --accept %s',
          finding, run_id, gauge
        ),
        cause => 'brake'
      );
      return;
    end if;
  end if;

  -- This answer was in flight when the run stopped, and its rows are counted too.
  perform identity_sync_private.take_back_marks(
    array(
      select settlement.settlement_id
      from identity_sync.settlement
      where settlement.batch_id = brake_identity_run.batch_id
    ),
    (select run.braked_by from identity_sync.run where run.run_id = brake_identity_run.run_id)
  );
end;
$$;

revoke all on function identity_sync_private.brake_identity_run(bigint, bigint) from public;

comment on function identity_sync_private.brake_identity_run(bigint, bigint) is
  'Takes a run and its batch just applied; where a gauge is at its limit (95 % unresolved, 50 % refused, 20 % of identities another artist; of 1,000 rows, or of 200 in three answers), stops the run, takes back the marks of the rows counted and holds planning.';
--! EndIncluded functions/run/brake_identity_run.sql
--! Included functions/run/end_overdue_runs.sql
-- Stops the runs whose deadline has passed, and abandons in those that are stopping what no lane holds any more, so
-- that a run whose process has died holds nothing that is not in flight when another is planned.
create or replace function identity_sync_private.end_overdue_runs()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select identity_sync.stop_identity_run(overdue.run_id, null, cause => 'deadline')
  -- A run that another session is stopping, or closing, is not waited for.
  from (
    select run.run_id
    from identity_sync.run
    where run.finished_at is null and (run.stop_cause is not null or run.deadline_at < clock_timestamp())
    order by run.run_id
    for no key update skip locked
  ) as overdue;
$$;

revoke all on function identity_sync_private.end_overdue_runs() from public;

comment on function identity_sync_private.end_overdue_runs() is
  'Stops each open run that is past its deadline or stopping already; a run stopped before keeps its cause.';
--! EndIncluded functions/run/end_overdue_runs.sql
--! Included functions/batch/apply_identity_batch.sql
-- Writes LML's answer for a batch and closes the batch. A dry run rolls the writing back and keeps the answer's text,
-- so that exactly this answer can be applied later. A row that was left out of the request, since it had no artist
-- name, counts nowhere.
create or replace function identity_sync_private.apply_identity_batch(
  batch_id bigint,
  answer jsonb,
  body text default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  came_at timestamptz;
  service constant text := identity_sync_private.service_origin();
  this_batch record;
  settled jsonb;
begin
  select batch.library_ids, batch.asked_as, batch.run_id, batch.answered_at, run.dry_run, run.strict_bands
  into strict this_batch
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = apply_identity_batch.batch_id;

  -- A kept answer is as old as its call.
  came_at := coalesce(this_batch.answered_at, clock_timestamp());

  -- What the request left out, unless it was because the row is gone.
  if array_position(this_batch.asked_as, null) is not null then
    select coalesce(array_agg(named.id), '{}'), coalesce(array_agg(named.fingerprint), '{}')
    into this_batch.library_ids, this_batch.asked_as
    from unnest(this_batch.library_ids, this_batch.asked_as) as named (id, fingerprint)
    where named.fingerprint is not null
      or not exists (select from wxyc_schema.library where library.id = named.id);
  end if;

  if this_batch.dry_run then
    settled := identity_sync_private.rehearse_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as
    );
    insert into identity_sync.settlement (
      run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report, unknown_names
    )
    values (
      this_batch.run_id, apply_identity_batch.batch_id, true, body is not null, service, came_at,
      cardinality(this_batch.library_ids),
      (settled ->> 'scanned')::integer - cardinality(this_batch.library_ids), settled,
      identity_sync_private.unknown_names(
        identity_sync_private.results_of(answer), settled ->> 'source_rows_unknown' <> '0'
      )
    );
  else
    settled := identity_sync_private.settle_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as,
      this_batch.run_id, apply_identity_batch.batch_id, is_answer => body is not null
    );
  end if;

  update identity_sync.batch
  set
    state = case when body is null then 'empty' else 'applied' end,
    library_ids = this_batch.library_ids,
    asked_as = this_batch.asked_as,
    leased_by = null,
    leased_until = null,
    answer = case when this_batch.dry_run then body end,
    answered_at = case when body is not null then came_at end,
    closed_at = clock_timestamp()
  where batch.batch_id = apply_identity_batch.batch_id;
end;
$$;

revoke all on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) from public;

comment on function identity_sync_private.apply_identity_batch(bigint, jsonb, text) is
  'Takes a batch, LML''s answer and its text (NULL: nothing was left to request, and the answer is []); closes the batch as applied or empty. Raises what apply_identity_verdicts raises.';
--! EndIncluded functions/batch/apply_identity_batch.sql
--! Included functions/batch/claim_identity_batch.sql
-- Gives a lane the next batch of its run, with a lease. Claims wait for one another, so the limit on calls in flight
-- holds over all processes and runs, and workers share the calls evenly; and so a claim waits for nothing else: what
-- another session holds is passed over, and no table is read whole. While the lane's last answer is being written,
-- "answered" gives up its place in flight.
create or replace function identity_sync.claim_identity_batch(
  run_id bigint,
  leased_by text,
  concurrency integer,
  lease_ms integer,
  answered bigint default null
)
returns table (batch_id bigint, request text, wait_ms integer, inputs integer, trace_id text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1min'
set enable_seqscan = off
set jit = off
as $$
declare
  -- A lane is named "host:pid:job", and its worker "host:pid".
  worker constant text := regexp_replace(leased_by, ':[^:]*$', '');
  lease_end constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  -- A lane that would wait for longer makes room for those of other runs.
  patience constant interval := interval '1 second';
  this_run identity_sync.run;
  in_flight integer;
  unfinished record;
  is_run_held boolean := false;
begin
  lock table identity_sync.claim_mutex in exclusive mode;

  -- From here on every wait would be everybody's.
  perform set_config('lock_timeout', '100ms', true);

  update identity_sync.batch
  set state = 'answered', leased_until = lease_end
  where batch.batch_id = claim_identity_batch.answered
    and batch.leased_by = claim_identity_batch.leased_by
    and batch.state = 'in_flight';

  perform identity_sync_private.reopen_orphaned_batches();

  select run.*
  into this_run
  from identity_sync.run
  where run.run_id = claim_identity_batch.run_id;

  if this_run.stop_reason is null and this_run.deadline_at < clock_timestamp() then
    is_run_held := not identity_sync_private.stop_unheld_run(run_id, null, 'deadline');
    this_run.stop_reason := 'deadline';
  end if;

  trace_id := this_run.trace_id;

  select kept.batch_id, kept.inputs
  into claim_identity_batch.batch_id, inputs
  from identity_sync_private.take_kept_answer(run_id, leased_by, lease_end) as kept;
  if batch_id is not null then
    return next;
    return;
  end if;

  if this_run.stop_cause is not null then
    -- A call that failed just when the run was stopped may have opened its batch again.
    perform identity_sync_private.stop_unheld_run(run_id, this_run.stop_reason, this_run.stop_cause);
  end if;

  in_flight := (select count(*) from identity_sync.batch where batch.closed_at is null and batch.state = 'in_flight');

  loop
    select batch.batch_id
    into claim_identity_batch.batch_id
    from identity_sync.batch
    where batch.run_id = claim_identity_batch.run_id
      and batch.closed_at is null
      and batch.state = 'open'
      and this_run.stop_reason is null
      and coalesce(greatest(batch.not_before, this_run.paused_until) <= clock_timestamp(), true)
    order by batch.batch_id
    limit 1
    for no key update skip locked;

    if not found then
      -- Each unfinished batch is due at some time: after a pause, or when its lease runs out or is given up.
      select
        count(*) as batches,
        count(batch.leased_by) as leased,
        min(
          greatest(
            clock_timestamp(), batch.not_before, batch.leased_until,
            case when batch.state = 'open' then this_run.paused_until end
          )
        ) as due_at
      into unfinished
      from identity_sync.batch
      where batch.run_id = claim_identity_batch.run_id
        and batch.closed_at is null
        and (batch.state <> 'open' or this_run.stop_reason is null);

      if unfinished.batches = 0 and not is_run_held then
        return;
      end if;
      if unfinished.leased = 0 and unfinished.due_at > clock_timestamp() + patience then
        perform identity_sync.enqueue_lanes(run_id, concurrency, unfinished.due_at);
        return;
      end if;
      wait_ms := 500;
    elsif not identity_sync_private.take_turn(worker, concurrency, in_flight) then
      if identity_sync_private.another_run_waits(run_id) then
        return;
      end if;
      wait_ms := 100;
    end if;
    if wait_ms is not null then
      claim_identity_batch.batch_id := null;
      return next;
      return;
    end if;

    if this_run.call_budget is not null and this_run.call_budget <= (
      select count(*)
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = claim_identity_batch.run_id
    )
    then
      is_run_held := not identity_sync_private.stop_unheld_run(run_id, null, 'budget');
      this_run.stop_reason := 'budget';
      continue;
    end if;

    request := identity_sync_private.compose_batch_request(claim_identity_batch.batch_id);
    exit when request is not null;

    perform identity_sync_private.close_empty_batch(claim_identity_batch.batch_id);
  end loop;

  update identity_sync.batch
  set state = 'in_flight', leased_by = claim_identity_batch.leased_by, leased_until = lease_end, not_before = null
  where batch.batch_id = claim_identity_batch.batch_id
  returning cardinality(batch.library_ids)
  into inputs;

  insert into identity_sync.lml_call (batch_id, leased_by, inputs)
  values (claim_identity_batch.batch_id, claim_identity_batch.leased_by, claim_identity_batch.inputs);

  return next;
end;
$$;

revoke all on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) from public;

comment on function identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint) is
  'Takes a run, the lane''s name ("host:pid:job"), the calls allowed in flight over the whole database, the lease in milliseconds and the lane''s batch whose answer has come; returns a batch with its request body (NULL: its answer is kept, and is to be handed to finish_identity_call), its number of inputs and its run''s trace, or no batch but a pause in milliseconds, or no row where the lane may end.';
--! EndIncluded functions/batch/claim_identity_batch.sql
--! Included functions/repair/dismiss_quarantined_verdict.sql
-- Closes a quarantine entry that nothing else can close, because it names no library, was not asked or was a typing
-- mistake. The mark that it left goes with it, so that the library is due as before.
create or replace function identity_sync.dismiss_quarantined_verdict(quarantine_id bigint, reason text)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  dismissed record;
begin
  perform identity_sync_private.check_reason(reason);

  -- A writer touches mark and entry in the other order.
  perform identity_sync_private.lock_identities(
    array(
      select entry.library_id
      from identity_sync.quarantined_verdict as entry
      where entry.quarantine_id = dismiss_quarantined_verdict.quarantine_id and entry.closed_at is null
    )
  );

  update identity_sync.quarantined_verdict as entry
  set
    closed_at = clock_timestamp(),
    closed_reason = format('dismissed by %s: %s', session_user, dismiss_quarantined_verdict.reason)
  where entry.quarantine_id = dismiss_quarantined_verdict.quarantine_id and entry.closed_at is null
  returning entry.library_id, entry.settlement_id, entry.outcome
  into dismissed;
  if not found then
    raise exception using
      errcode = 'LS002',
      message = format('there is no open quarantine entry %s', coalesce(quarantine_id::text, 'NULL')),
      hint = 'The view quarantine lists the open ones.';
  end if;

  delete from identity_sync.attempt
  where attempt.library_id = dismissed.library_id
    and attempt.settlement_id = dismissed.settlement_id
    and attempt.outcome = dismissed.outcome;
end;
$$;

revoke all on function identity_sync.dismiss_quarantined_verdict(bigint, text) from public;

comment on function identity_sync.dismiss_quarantined_verdict(bigint, text) is
  'Takes an open entry of the view quarantine and why it is dismissed; closes it and lifts the mark that it left. Raises LS001 for an empty reason, LS002 where no such entry is open, 55P03 where another session holds its library.';
--! EndIncluded functions/repair/dismiss_quarantined_verdict.sql
--! Included functions/repair/find_undoable.sql
-- Finds what of a settlement can be taken back, writing nothing. A row was changed since where its transaction (xmin)
-- is none of ours, or where another run wrote the library later: it is newer, or held where a person holds it. What an
-- earlier undo has taken back is left out.
create or replace function identity_sync_private.find_undoable(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  ours xid[]
)
returns identity_sync_private.undoing[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement identity_sync.settlement;
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = find_undoable.settlement_id;

  return array(
    with written as materialized (
      select
        listed.library_id,
        inserted.library_id is not null as was_absent,
        case when history.is_its_own then history.history_id end as history_id,
        history.is_its_own and history.reason_category in ('release', 'undo') as may_be_gone,
        inserted.library_id is null and not history.is_its_own as is_merged_into
      from identity_sync_private.libraries_written(find_undoable.settlement_id) as listed (library_id)
      left join unnest(this_settlement.inserted_ids) as inserted (library_id) on inserted.library_id = listed.library_id
      -- A merge moves history to the record that stays: it is not what that was.
      left join (
        select distinct on (archived.library_id)
          archived.library_id, kept.history_id, archived.reason_category,
          archived.xmin = any (this_settlement.written_by) as is_its_own
        from unnest(this_settlement.history_ids) as kept (history_id)
        join wxyc_schema.library_identity_history as archived on archived.history_id = kept.history_id
        order by archived.library_id, is_its_own desc
      ) as history on history.library_id = listed.library_id
      left join unnest(undone_before) as undone (library_id) on undone.library_id = listed.library_id
      where undone.library_id is null and (ids is null or listed.library_id = any (ids))
    ),
    -- Source rows that are not as this settlement left them.
    moved as materialized (
      select superseded.library_id
      from identity_sync.superseded_source as superseded
      left join wxyc_schema.library_identity_source as known
        on known.library_id = superseded.library_id and known.source = superseded.source
      where superseded.settlement_id = find_undoable.settlement_id
        and case superseded.action
          when 'removed' then known.library_id is not null
          else (known.xmin = any (this_settlement.written_by)) is not true
        end
      union all
      select known.library_id
      from written
      join wxyc_schema.library_identity_source as known on known.library_id = written.library_id
      where written.was_absent
        and known.xmin <> all (this_settlement.written_by)
        and known.xmin <> all (ours)
        and identity_sync_private.is_ours(known.notes)
    )
    select
      row(
        written.library_id,
        written.was_absent,
        written.history_id,
        known.library_id is not null,
        case
          when later.library_id is null
            and moved.library_id is null
            and written.is_merged_into is not true
            and case
              when known.library_id is null
              then written.may_be_gone
                and exists (select from wxyc_schema.library where library.id = written.library_id)
              -- Nearly all rows are as this settlement left them, and need no look at the longer list.
              else (
                  known.xmin = any (this_settlement.written_by)
                  or known.xmin = any (ours)
                  -- A verdict of the same time that changed sources alone left the main row as an earlier one of ours.
                  or not written.was_absent
                    and written.history_id is null
                    and known.xmin in (
                      select unnest(earlier.written_by)
                      from identity_sync.settlement as earlier
                      where earlier.settled_at < this_settlement.settled_at
                    )
                )
                and not (
                  written.was_absent
                  and num_nonnulls(
                    known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
                    known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
                  ) > 0
                )
            end
          then 'undone'
          when identity_sync_private.is_set_by_hand(known.method, known.notes) then 'held'
          else 'newer'
        end
      )::identity_sync_private.undoing
    from written
    left join wxyc_schema.library_identity as known on known.library_id = written.library_id
    left join unnest(written_later) as later (library_id) on later.library_id = written.library_id
    left join (select distinct moved.library_id from moved) as moved on moved.library_id = written.library_id
  );
end;
$$;

revoke all on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) from public;

comment on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) is
  'Takes a settlement, the libraries to undo (NULL: all), those that other runs wrote later, those that an undo has taken back, and the transactions of our own since; returns the libraries written, each with its fate.';
--! EndIncluded functions/repair/find_undoable.sql
--! Included functions/repair/hold_identity.sql
-- Keeps a library as it is, as a repair would, until it is released: the service's verdicts over it are
-- manual_precedence. An identity is marked in its notes, with a history row, so that the hold goes where the identity
-- goes; a library without one gets the mark held, and is not asked meanwhile.
create or replace function identity_sync.hold_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  held_at constant timestamptz := clock_timestamp();
  kept_history_ids integer[] := array[]::integer[];
begin
  perform identity_sync_private.check_reason(reason);
  if not exists (select from wxyc_schema.library where library.id = hold_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  perform from wxyc_schema.library_identity as known
  where known.library_id = hold_identity.library_id
  for no key update;
  if found then
    kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'hold');
    update wxyc_schema.library_identity as known
    set notes = identity_sync_private.repair_origin(session_user)
    where known.library_id = hold_identity.library_id;
  else
    perform identity_sync_private.replace_attempt(library_id, 'held', held_at, this_settlement, held_at);
  end if;

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), held_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select known.xmin from wxyc_schema.library_identity as known where known.library_id = hold_identity.library_id
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'hold', held_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id, 'identity', case when kept_history_ids = '{}' then 'none' else 'held' end
  );
end;
$$;

revoke all on function identity_sync.hold_identity(integer, text) from public;

comment on function identity_sync.hold_identity(integer, text) is
  'Takes a library and why it is held; keeps it from being written until release_identity, and returns whether an identity is held or none is there. Raises LS001 for an empty reason, LS002 for an unknown library.';
--! EndIncluded functions/repair/hold_identity.sql
--! Included functions/repair/release_identity.sql
-- Takes back a library's identity, or the hold of a repair on it: what LML composes goes, with a history row, and the
-- library is due at once, while an answer given before is a stale_verdict. The main row itself goes where no other
-- writer's column is filled; otherwise its ids of ours are emptied and its confidence is 0, so that it does not count
-- as resolved.
create or replace function identity_sync.release_identity(library_id integer, reason text)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  released_at constant timestamptz := clock_timestamp();
  is_shared boolean;
  kept_history_ids integer[] := array[]::integer[];
  removals identity_sync_private.source_change[];
  removed_sources integer := 0;
begin
  perform identity_sync_private.check_reason(reason);
  if not exists (select from wxyc_schema.library where library.id = release_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  select
    num_nonnulls(
      known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
      known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
    ) > 0
  into is_shared
  from wxyc_schema.library_identity as known
  where known.library_id = release_identity.library_id
  for update;

  -- A statement that touches no row would fire the station's triggers all the same.
  if is_shared is not null then
    kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'release');
  end if;
  if is_shared then
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = null,
      musicbrainz_artist_id = null,
      wikidata_qid = null,
      spotify_id = null,
      apple_music_id = null,
      bandcamp_id = null,
      confidence = 0,
      notes = identity_sync_private.service_origin()
    where known.library_id = release_identity.library_id;
  elsif is_shared is not null then
    delete from wxyc_schema.library_identity as known where known.library_id = release_identity.library_id;
  end if;

  -- Locked first, so that the rows which are copied are the rows which go.
  select array_agg(
    row(locked.library_id, locked.source, null, null, null, 'removed', null, null)::identity_sync_private.source_change
  )
  into removals
  from (
    select known.library_id, known.source
    from wxyc_schema.library_identity_source as known
    where known.library_id = release_identity.library_id and identity_sync_private.is_ours(known.notes)
    for update
  ) as locked;
  if removals is not null then
    removed_sources := identity_sync_private.archive_sources(removals, this_settlement, reason);
    delete from wxyc_schema.library_identity_source as known
    using unnest(removals) as removal
    where known.library_id = removal.library_id and known.source = removal.source;
  end if;

  perform identity_sync_private.replace_attempt(
    library_id, 'released', released_at, this_settlement, released_at
  );

  insert into identity_sync.settlement (
    settlement_id, run_id, origin, verified_at, requested, unrequested, report, history_ids, written_by
  )
  overriding system value
  values (
    this_settlement, this_run, identity_sync_private.repair_origin(session_user), released_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids,
    array(
      select history.xmin
      from wxyc_schema.library_identity_history as history
      where history.history_id = any (kept_history_ids)
    )
  );
  perform identity_sync_private.record_run_by_hand(
    this_run, 'release', released_at, identity_sync_private.empty_report(), null, array[library_id]
  );

  return jsonb_build_object(
    'library_id', library_id,
    'identity', case when is_shared is null then 'none' when is_shared then 'emptied' else 'removed' end,
    'sources_removed', removed_sources
  );
end;
$$;

revoke all on function identity_sync.release_identity(integer, text) from public;

comment on function identity_sync.release_identity(integer, text) is
  'Takes a library and why its identity is taken back; returns what became of it (none, emptied, removed) and how many source rows went. Raises LS001 for an empty reason, LS002 for an unknown library.';
--! EndIncluded functions/repair/release_identity.sql
--! Included functions/repair/replay_quarantined_verdicts.sql
-- Judges and applies quarantined verdicts again, after a rule or a constraint has changed: each with its own origin,
-- time and strictness. What is refused again returns to quarantine, and a poison input, which has no verdict, becomes
-- due; a verdict that was not asked, or is ahead of the clock, stays. Entries of one answer are applied together.
create or replace function identity_sync.replay_quarantined_verdicts(
  run_id bigint default null,
  ids integer[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  replayable bigint[];
  never_replayed bigint;
  answer record;
  report jsonb := identity_sync_private.empty_report();
  replayed integer := 0;
  made_due bigint;
begin
  if run_id is not null
    and not exists (select from identity_sync.run where run.run_id = replay_quarantined_verdicts.run_id)
  then
    raise exception using errcode = 'LS002', message = format('there is no run %s', run_id);
  end if;

  select
    coalesce(array_agg(entry.quarantine_id) filter (where listed.can_be_replayed), '{}'),
    count(*) filter (where not listed.can_be_replayed)
  into replayable, never_replayed
  from identity_sync.quarantined_verdict as entry
  left join identity_sync.settlement
    on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
  cross join lateral (
    select
      entry.outcome = 'poison_input'
      or entry.outcome <> 'lml_untrusted_library_id'
        and isfinite(entry.verified_at)
        and identity_sync_private.is_plausible_time(entry.verified_at) as can_be_replayed
  ) as listed
  where entry.closed_at is null
    and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
    and (ids is null or entry.library_id = any (ids));

  -- Only what is replayed is held, and all of it at once.
  perform identity_sync_private.lock_identities(
    array(
      select entry.library_id
      from identity_sync.quarantined_verdict as entry
      where entry.quarantine_id = any (replayable)
    )
  );

  -- The brake closes entries without holding their libraries.
  perform from identity_sync.quarantined_verdict as entry
  where entry.quarantine_id = any (replayable)
  order by entry.quarantine_id
  for no key update;

  perform identity_sync_private.replace_attempt(entry.library_id, 'released', clock_timestamp(), null)
  from identity_sync.quarantined_verdict as entry
  where entry.quarantine_id = any (replayable) and entry.closed_at is null and entry.outcome = 'poison_input';
  get diagnostics made_due = row_count;

  for answer in
    select
      entry.origin,
      entry.verified_at,
      entry.strict_bands,
      array_agg(entry.quarantine_id) as quarantine_ids,
      array_agg(entry.library_id order by entry.library_id) filter (where entry.library_id is not null) as requested,
      array_agg(entry.asked_as order by entry.library_id) filter (where entry.library_id is not null) as asked_as,
      min(entry.verdict_text) as verdict_text,
      jsonb_build_object(
        'results', jsonb_agg(entry.verdict order by entry.library_id, entry.quarantine_id),
        'tracks_contract_version', entry.tracks_contract_version
      ) as verdicts
    from identity_sync.quarantined_verdict as entry
    where entry.quarantine_id = any (replayable) and entry.closed_at is null and entry.outcome <> 'poison_input'
    group by
      entry.verified_at, entry.origin, entry.strict_bands, entry.tracks_contract_version,
      entry.library_id is null,
      -- A text that jsonb cannot hold is an answer of its own.
      case when entry.verdict_text is not null then entry.quarantine_id end
    order by entry.verified_at, min(entry.quarantine_id)
  loop
    update identity_sync.quarantined_verdict
    set closed_at = clock_timestamp(), closed_reason = 'replayed'
    where quarantined_verdict.quarantine_id = any (answer.quarantine_ids);

    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.settle_verdicts(
        response => case
          when answer.verdict_text is null then answer.verdicts
          else identity_sync.read_identity_answer(answer.verdict_text)
        end,
        requested => answer.requested,
        origin => answer.origin,
        verified_at => answer.verified_at,
        strict_bands => answer.strict_bands,
        -- Where it is not known what was asked, the refusal is taken for the last answer that its library has got.
        asked_as => array(
          select coalesce(named.asked_as, known.fingerprint)
          from unnest(answer.requested, answer.asked_as) with ordinality as named (library_id, asked_as, place)
          left join identity_sync.asked_as as known on known.library_id = named.library_id
          order by named.place
        ),
        run_id => this_run
      )
    );
    replayed := replayed + cardinality(answer.quarantine_ids);
  end loop;

  perform identity_sync_private.record_run_by_hand(this_run, 'replay', started_at, report, run_id, ids);
  return report || jsonb_build_object(
    'replayed', replayed,
    'made_due', made_due,
    'never_replayed', never_replayed
  );
end;
$$;

revoke all on function identity_sync.replay_quarantined_verdicts(bigint, integer[]) from public;

comment on function identity_sync.replay_quarantined_verdicts(bigint, integer[]) is
  'Takes a run (NULL: all runs) and library ids (NULL: all libraries); replays their open quarantine entries and returns the report, with the counts replayed, made_due and never_replayed (untrusted, or ahead of the clock). Raises LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/repair/replay_quarantined_verdicts.sql
--! Included functions/repair/undo_identities.sql
-- Makes main rows what they were before a settlement, one statement a kind of change, and none where there is no such
-- change. What goes or changes is kept first, as by the writer, so that an undo can be undone. Columns of other writers
-- stay as they are.
create or replace function identity_sync_private.undo_identities(
  undoings identity_sync_private.undoing[],
  reason text,
  out inserted_ids integer[],
  out history_ids integer[],
  out removed integer,
  out restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  kept_ids integer[];
  goes boolean;
  changes boolean;
  returns boolean;
begin
  select
    array_agg(undoing.library_id) filter (
      where undoing.is_there and (undoing.was_absent or undoing.history_id is not null)
    ),
    coalesce(bool_or(undoing.is_there and undoing.was_absent), false),
    coalesce(bool_or(undoing.is_there and undoing.history_id is not null), false),
    coalesce(bool_or(not undoing.is_there and undoing.history_id is not null), false)
  into kept_ids, goes, changes, returns
  from unnest(undoings) as undoing;
  inserted_ids := '{}';
  history_ids := '{}';
  removed := 0;
  restored := 0;

  if kept_ids is not null then
    history_ids := identity_sync_private.archive_identities(kept_ids, reason, 'undo');
  end if;

  if goes then
    delete from wxyc_schema.library_identity as known
    using unnest(undoings) as undoing
    where undoing.was_absent and known.library_id = undoing.library_id;
    get diagnostics removed = row_count;
  end if;

  if changes then
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = history.discogs_artist_id,
      musicbrainz_artist_id = history.musicbrainz_artist_id,
      wikidata_qid = history.wikidata_qid,
      spotify_id = history.spotify_id,
      apple_music_id = history.apple_music_id,
      bandcamp_id = history.bandcamp_id,
      method = history.method,
      confidence = history.confidence,
      last_verified_at = history.last_verified_at,
      notes = history.notes
    from unnest(undoings) as undoing
    join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
    where undoing.is_there and known.library_id = undoing.library_id;
    get diagnostics restored = row_count;
  end if;

  if returns then
    with returned as (
      insert into wxyc_schema.library_identity (
        library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
        musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
        agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id
      )
      select
        history.library_id, history.discogs_master_id, history.discogs_release_id,
        history.musicbrainz_release_group_mbid, history.musicbrainz_release_mbid, history.musicbrainz_recording_mbid,
        history.wikidata_qid, history.spotify_id, history.apple_music_id, history.last_verified_at, history.method,
        history.confidence, history.agreement_sources, history.notes, history.discogs_artist_id,
        history.musicbrainz_artist_id, history.bandcamp_id
      from unnest(undoings) as undoing
      join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
      where not undoing.is_there
      returning library_id
    )
    select coalesce(array_agg(returned.library_id), '{}')
    into inserted_ids
    from returned;
    restored := restored + cardinality(inserted_ids);
  end if;
end;
$$;

revoke all on function identity_sync_private.undo_identities(identity_sync_private.undoing[], text) from public;

comment on function identity_sync_private.undo_identities(identity_sync_private.undoing[], text) is
  'Takes what of a settlement can be taken back, and the reason of its undo; returns the main rows inserted and kept, and the counts of rows removed and restored.';
--! EndIncluded functions/repair/undo_identities.sql
--! Included functions/repair/undo_sources.sql
-- Makes source rows what they were before a settlement, one statement a kind of change, and none where there is no such
-- change. What goes or changes is kept first, as by the writer, so that an undo can be undone.
create or replace function identity_sync_private.undo_sources(
  settlement_id bigint,
  ids integer[],
  undo_settlement_id bigint,
  reason text,
  out removed integer,
  out restored integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  written_by constant xid[] := (
    select settlement.written_by
    from identity_sync.settlement
    where settlement.settlement_id = undo_sources.settlement_id
  );
  -- What the settlement inserted goes; what it changed was kept, and comes back.
  changes constant identity_sync_private.source_change[] := array(
    select
      row(
        known.library_id, known.source, superseded.external_id, superseded.method, superseded.confidence,
        case superseded.action when 'changed' then 'changed' else 'removed' end, known.ctid, false
      )::identity_sync_private.source_change
    from wxyc_schema.library_identity_source as known
    left join identity_sync.superseded_source as superseded
      on superseded.library_id = known.library_id
      and superseded.source = known.source
      and superseded.settlement_id = undo_sources.settlement_id
    where known.library_id = any (ids) and known.xmin = any (written_by)
  );
  touched integer;
begin
  removed := 0;
  restored := 0;
  perform identity_sync_private.archive_sources(changes, undo_settlement_id, reason);

  if exists (select from unnest(changes) as change where change.action = 'removed') then
    delete from wxyc_schema.library_identity_source as known
    using unnest(changes) as change
    where change.action = 'removed' and known.library_id = change.library_id and known.source = change.source;
    get diagnostics removed = row_count;
  end if;

  if exists (select from unnest(changes) as change where change.action = 'changed') then
    update wxyc_schema.library_identity_source as known
    set
      external_id = superseded.external_id,
      method = superseded.method,
      confidence = superseded.confidence,
      last_verified_at = superseded.last_verified_at,
      boost_sources = superseded.boost_sources,
      notes = superseded.notes
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_sources.settlement_id
      and superseded.action = 'changed'
      and known.library_id = superseded.library_id
      and known.source = superseded.source;
    get diagnostics restored = row_count;
  end if;

  if exists (
    select
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_sources.settlement_id and superseded.action = 'removed'
  ) then
    with returned as (
      insert into wxyc_schema.library_identity_source (
        library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes
      )
      select
        superseded.library_id, superseded.source, superseded.external_id, superseded.method, superseded.confidence,
        superseded.last_verified_at, superseded.boost_sources, superseded.notes
      from unnest(ids) as undone (library_id)
      join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
      where superseded.settlement_id = undo_sources.settlement_id and superseded.action = 'removed'
      returning library_id, source
    )
    insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
    select undo_settlement_id, returned.library_id, returned.source, 'inserted', reason
    from returned;
    get diagnostics touched = row_count;
    restored := restored + touched;
  end if;
end;
$$;

revoke all on function identity_sync_private.undo_sources(bigint, integer[], bigint, text) from public;

comment on function identity_sync_private.undo_sources(bigint, integer[], bigint, text) is
  'Takes a settlement, the libraries to undo, the settlement of the undo and its reason; returns the counts of source rows removed and restored.';
--! EndIncluded functions/repair/undo_sources.sql
--! Included functions/repair/undo_track_links.sql
-- Makes credits what they were before a settlement linked them. A credit that anybody has touched since stays; what
-- goes is kept first, as by the writer.
create or replace function identity_sync_private.undo_track_links(
  settlement_id bigint,
  ids integer[],
  undone_by xid[],
  undo_settlement_id bigint,
  reason text,
  out restored_library_ids integer[],
  out restored integer,
  out newer integer,
  out held integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement identity_sync.settlement;
  credit_ids integer[];
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = undo_track_links.settlement_id;

  select
    array_agg(known.id order by known.id) filter (where moved.fate = 'undone'),
    count(*) filter (where moved.fate = 'newer'),
    count(*) filter (where moved.fate = 'held')
  into credit_ids, newer, held
  from (
    select unnest(this_settlement.linked_credit_ids) as credit_id
    union
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = undo_track_links.settlement_id
  ) as written
  join wxyc_schema.compilation_track_artist as known on known.id = written.credit_id
  left join identity_sync.attempt on attempt.library_id = known.library_id and attempt.outcome = 'held'
  cross join lateral (
    select
      case
        when known.xmin = any (undone_by) then 'undone before'
        when attempt.library_id is not null then 'held'
        when known.xmin = any (this_settlement.written_by) then 'undone'
        when known.track_artist_link_method = 'librarian' then 'held'
        else 'newer'
      end as fate
  ) as moved
  where ids is null or known.library_id = any (ids);

  -- An update that touches no row would fire the station's triggers all the same.
  restored := 0;
  restored_library_ids := '{}';
  if credit_ids is null then
    return;
  end if;

  insert into identity_sync.superseded_track_link (
    settlement_id, credit_id, library_id, action,
    track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
  )
  select
    undo_settlement_id, known.id, known.library_id,
    case when before.credit_id is null then 'unlinked' else 'changed' end,
    known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
    undo_track_links.reason
  from wxyc_schema.compilation_track_artist as known
  left join identity_sync.superseded_track_link as before
    on before.settlement_id = undo_track_links.settlement_id and before.credit_id = known.id
  where known.id = any (credit_ids);

  with kept as (
    select
      undone.credit_id,
      before.track_artist_id,
      before.track_artist_link_confidence,
      before.track_artist_link_method,
      case
        when before.credit_id is not null then before.track_position
        when undone.credit_id <> all (this_settlement.positioned_credit_ids) then known.track_position
      end as track_position
    from unnest(credit_ids) as undone (credit_id)
    join wxyc_schema.compilation_track_artist as known on known.id = undone.credit_id
    left join identity_sync.superseded_track_link as before
      on before.settlement_id = undo_track_links.settlement_id and before.credit_id = undone.credit_id
  ),
  undone as (
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = kept.track_artist_id,
      track_artist_link_confidence = kept.track_artist_link_confidence,
      track_artist_link_method = kept.track_artist_link_method,
      track_position = kept.track_position
    from kept
    where known.id = kept.credit_id
    returning known.library_id
  )
  select count(*), array_agg(distinct undone.library_id)
  into restored, restored_library_ids
  from undone;
end;
$$;

revoke all on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) from public;

comment on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) is
  'Takes a settlement, the libraries to undo (NULL: all), the transactions of earlier undos of it, the settlement of this undo and its reason; returns the libraries and the number of credits restored, and how many were changed since, or are held by a librarian.';
--! EndIncluded functions/repair/undo_track_links.sql
--! Included functions/repair/undo_settlement.sql
-- Takes back one settlement of a run, as a settlement of the undo. That names what it wrote as any other does, so that
-- an undo can be undone.
create or replace function identity_sync_private.undo_settlement(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  undone_by xid[],
  ours xid[],
  undo_run_id bigint
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  reason constant text := format('undone by run %s, settlement %s', undo_run_id, this_settlement);
  origin constant text := format('undo:%s', session_user);
  found_rows identity_sync_private.undoing[];
  undoings identity_sync_private.undoing[];
  identities record;
  sources record;
  tracks record;
  undone_ids integer[];
  transaction xid;
begin
  perform identity_sync_private.hold_written_rows(settlement_id, ids);
  found_rows := identity_sync_private.find_undoable(settlement_id, ids, written_later, undone_before, ours);
  undoings := array(select undoing from unnest(found_rows) as undoing where undoing.fate = 'undone');

  select * into identities
  from identity_sync_private.undo_identities(undoings, reason);
  select * into sources
  from identity_sync_private.undo_sources(
    settlement_id, array(select undoing.library_id from unnest(undoings) as undoing), this_settlement, reason
  );
  select * into tracks
  from identity_sync_private.undo_track_links(settlement_id, ids, undone_by, this_settlement, reason);
  undone_ids := array(select undoing.library_id from unnest(undoings) as undoing) || tracks.restored_library_ids;

  if cardinality(undone_ids) > 0 then
    perform identity_sync_private.ask_again(undone_ids);

    insert into identity_sync.settlement (
      settlement_id, run_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids
    )
    overriding system value
    values (
      this_settlement, undo_run_id, origin, clock_timestamp(), 0, 0, identity_sync_private.empty_report(),
      identities.inserted_ids, identities.history_ids
    )
    returning xmin
    into transaction;
    update identity_sync.settlement
    set written_by = array[transaction]
    where settlement.settlement_id = this_settlement;
  end if;

  return jsonb_build_object(
    'identity', jsonb_build_object('removed', identities.removed, 'restored', identities.restored),
    'source', jsonb_build_object('removed', sources.removed, 'restored', sources.restored),
    'compilation_track', jsonb_build_object('restored', tracks.restored),
    'newer', tracks.newer + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'newer'),
    'held', tracks.held + (select count(*) from unnest(found_rows) as undoing where undoing.fate = 'held')
  );
end;
$$;

revoke all on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) from public;

comment on function identity_sync_private.undo_settlement(
  bigint, integer[], integer[], integer[], xid[], xid[], bigint
) is
  'Takes a settlement, the libraries to undo (NULL: all), what writes_since returns of its run, and the run of the undo; returns the counts of rows removed, restored and left.';
--! EndIncluded functions/repair/undo_settlement.sql
--! Included functions/observe/assert_program_fits.sql
-- Says in words what is wrong between a program, its database and its login before any work begins, and names the cure.
-- It runs with its caller's rights, since these are what it looks at.
create or replace function identity_sync.assert_program_fits(known text[], calls text[] default '{}')
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  newer text;
  lacking constant integer := identity_sync.missing_migrations(known);
  lost text;
  denied record;
begin
  select string_agg(filename, ', ' order by filename) into newer
  from graphile_migrate.migrations
  where hash <> all (known);
  if newer is not null then
    raise exception using
      errcode = 'LS005',
      message = format('the database %I is newer than this program: it has %s', current_database(), newer),
      hint = 'Deploy the version of identity-sync that made these migrations, or a newer one.';
  end if;

  if lacking > 0 then
    raise exception using
      errcode = 'LS005',
      message = format(
        'the database %I is older than this program: it lacks %s of its migrations', current_database(), lacking
      ),
      hint = 'Run identity-sync migrate as its owner, then sql/roles.sql.';
  end if;

  lost := array_to_string(identity_sync.lost_columns(), ', ');
  if lost <> '' then
    raise exception using
      errcode = 'LS005',
      message = format('the station''s tables in the database %I lack %s', current_database(), lost),
      hint = 'Add what is gone: identity-sync migrate names each column with its type.';
  end if;

  select pg_proc.proname as name, granted.roles, granted.variable into denied
  from pg_proc
  cross join lateral (
    select
      string_agg(rolname, ' or ' order by rolname) as roles,
      min(substring(rolname from '^identity_(reader|operator|worker)')) as variable
    from aclexplode(pg_proc.proacl) as acl
    join pg_roles on pg_roles.oid = acl.grantee
    where acl.grantee <> pg_proc.proowner
  ) as granted
  where pg_proc.pronamespace = 'identity_sync'::regnamespace
    and pg_proc.proname = any (calls)
    and not has_function_privilege(pg_proc.oid, 'EXECUTE')
  order by pg_proc.proname;
  if found then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
        'permission denied for %s: %I is no member of %s',
        denied.name, current_user, coalesce(denied.roles, 'any role that may call it')
      ),
      hint = format(
        'Use a login that is (README, "Which login"), or make this one a member: '
          'psql "$DBA_URL" -v %s=%I -f sql/roles.sql.',
        coalesce(denied.variable, 'worker'), current_user
      );
  end if;
end;
$$;

revoke all on function identity_sync.assert_program_fits(text[], text[]) from public;

comment on function identity_sync.assert_program_fits(text[], text[]) is
  'Takes the hashes of the migrations that a program brings and the functions that it calls; raises LS005 where the database is newer or older or lacks columns, and 42501 where this login may not call one of them.';
--! EndIncluded functions/observe/assert_program_fits.sql
--! Included functions/observe/confidence_band.sql
-- The bands of confidence in which the catalogue's coverage is counted.
create or replace function identity_sync_private.confidence_band(confidence real)
returns text
language sql immutable parallel safe
return case
  when confidence >= 1 then '1.00'
  when confidence >= 0.95::real then '0.95 - 0.99'
  when confidence >= 0.90::real then '0.90 - 0.94'
  when confidence >= 0.80::real then '0.80 - 0.89'
  when confidence >= 0.70::real then '0.70 - 0.79'
  else 'below 0.70'
end;

revoke all on function identity_sync_private.confidence_band(real) from public;

comment on function identity_sync_private.confidence_band(real) is
  'Takes a confidence; returns the band of confidence that it counts in.';
--! EndIncluded functions/observe/confidence_band.sql
--! Included functions/observe/count_catalogue.sql
-- Where the catalogue stands: every library is counted in one state, so that the states add up to its rows. Those that
-- are due are counted by reason too.
create or replace function identity_sync_private.count_catalogue(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
-- The planner takes the few states for as many groups as there are rows, and would sort them all. Its indexes bring
-- the rows in one order, as in due_libraries; only what is due is sorted.
set enable_sort = off
set enable_hashjoin = off
set enable_nestloop = off
set jit = off
as $$
declare
  stale_before timestamptz;
  retry_before timestamptz;
  counts jsonb;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  with due as (
    -- A row that was renamed may be due for another reason too, which says more.
    select named.library_id, coalesce(min(named.reason) filter (where named.reason <> 'renamed'), 'renamed') as reason
    from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as named
    group by named.library_id
  ),
  stood as (
    select
      identity_sync_private.state_of_library(
        identity_sync_private.has_name(library.artist_name),
        library.id not in (select identity_sync_private.libraries_not_on_discogs()),
        due.library_id is not null,
        attempt.outcome = 'held'
          or identity.library_id is not null
            and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
        library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
        identity.last_verified_at > stale_before
      ) as state,
      due.reason,
      identity.library_id is not null as is_identified,
      -- NULL where a time is missing, which does not count.
      not (
        identity_sync_private.is_plausible_time(identity.last_verified_at)
          and identity_sync_private.is_plausible_time(attempt.attempted_at)
      ) as is_of_unknown_age
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    left join identity_sync.attempt on attempt.library_id = library.id
    left join due on due.library_id = library.id
    -- A fence, so that the state of a row is found once.
    offset 0
  ),
  counted as (
    select
      stood.state,
      stood.reason,
      count(*) as libraries,
      count(*) filter (where stood.is_identified) as identified,
      count(*) filter (where stood.is_of_unknown_age) as unknown_age
    from stood
    group by 1, 2
  )
  select
    '{"due": 0, "fresh": 0, "waiting": 0, "held": 0, "not_canonical": 0, "not_on_discogs": 0, "no_name": 0}'::jsonb
    || coalesce(
      (
        select jsonb_object_agg(state.name, state.libraries)
        from (
          select counted.state as name, sum(counted.libraries) as libraries
          from counted
          group by counted.state
        ) as state
      ),
      '{}'
    )
    || jsonb_build_object(
      'rows', coalesce(sum(counted.libraries), 0),
      'identified', coalesce(sum(counted.identified), 0),
      'unknown_age', coalesce(sum(counted.unknown_age), 0),
      'due_by_reason',
      '{"never_asked": 0, "released": 0, "renamed": 0, "stale": 0, "in_vain": 0}'::jsonb
        || coalesce(
          jsonb_object_agg(counted.reason, counted.libraries) filter (where counted.state = 'due'), '{}'
        )
    )
  into counts
  from counted;
  return counts;
end;
$$;

revoke all on function identity_sync_private.count_catalogue(integer, integer, boolean) from public;

comment on function identity_sync_private.count_catalogue(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due; returns the rows of the catalogue by state, those due by reason, and how many are identified or of an age that is not known. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/count_catalogue.sql
--! Included functions/observe/count_gate.sql
-- Counts what the view gate shows. It is a function for its settings: the artists that are resolved are hashed, which
-- takes more memory than a session has by default, and the indexes bring the rows in one order, as in due_libraries.
create or replace function identity_sync_private.count_gate()
returns table (
  truly_unresolved bigint,
  libraries bigint,
  resolved bigint,
  resolved_by_artist bigint,
  no_name bigint,
  not_on_discogs bigint,
  compilation bigint,
  unresolved bigint,
  refused bigint,
  never_asked bigint,
  other bigint
)
language sql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
set enable_sort = off
set enable_hashjoin = off
set enable_nestloop = off
set jit = off
as $$
  select
    count(*) filter (where counted.cause is not null),
    count(*),
    count(*) filter (where counted.is_resolved),
    count(*) filter (where not counted.is_resolved and counted.artist_is_resolved),
    count(*) filter (where counted.cause = 'no_name'),
    count(*) filter (where counted.cause = 'not_on_discogs'),
    count(*) filter (where counted.cause = 'compilation'),
    count(*) filter (where counted.cause = 'unresolved'),
    count(*) filter (where counted.cause = 'refused'),
    count(*) filter (where counted.cause = 'never_asked'),
    count(*) filter (where counted.cause = 'other')
  from (
    select
      stood.is_resolved,
      stood.artist_is_resolved,
      case
        when stood.is_resolved or stood.artist_is_resolved then null
        when not identity_sync_private.has_name(stood.artist_name) then 'no_name'
        when stood.id in (select identity_sync_private.libraries_not_on_discogs()) then 'not_on_discogs'
        when stood.outcome in ('compilation', 'unresolved') then stood.outcome
        when stood.outcome in ('invalid_verdict', 'writer_error', 'poison_input') then 'refused'
        when stood.outcome is not null or stood.has_identity then 'other'
        else 'never_asked'
      end as cause
    from (
      select
        library.id,
        library.artist_name,
        attempt.outcome,
        known.library_id is not null as has_identity,
        -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
        coalesce(known.confidence >= 0.70::real, false) as is_resolved,
        library.artist_id in (
          select sibling.artist_id
          from wxyc_schema.library_identity as resolved
          join wxyc_schema.library as sibling on sibling.id = resolved.library_id
          where resolved.confidence >= 0.70::real and resolved.method <> 'inherited'
        ) as artist_is_resolved
      from wxyc_schema.library
      left join wxyc_schema.library_identity as known on known.library_id = library.id
      left join identity_sync.attempt on attempt.library_id = library.id
      -- Fences, so that the state and the cause of a row are found once and not once a counter.
      offset 0
    ) as stood
    offset 0
  ) as counted;
$$;

revoke all on function identity_sync_private.count_gate() from public;

comment on function identity_sync_private.count_gate() is
  'Returns one row: the libraries, those resolved, resolved by another row of their artist, and truly unresolved, the last by cause.';
--! EndIncluded functions/observe/count_gate.sql
--! Included functions/observe/due_by_day.sql
-- How many rows become due on each of the coming days if nothing is asked before, so that a person sees a wave of calls
-- ahead. A row counts once, on the day on which due_libraries begins to list it.
create or replace function identity_sync_private.due_by_day(
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean,
  days integer
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
-- The indexes bring the rows in one order, as in due_libraries.
set work_mem = '64MB'
set enable_sort = off
set enable_hashjoin = off
set jit = off
as $$
  with marked as (
    -- The rows of one answer share its time, so that the days of few groups are found and not those of all rows.
    select
      identity.last_verified_at,
      attempt.attempted_at,
      coalesce(identity_sync_private.is_short_attempt(attempt.outcome), false) as is_short,
      attempt.library_id is not null as is_in_vain,
      count(*) as libraries
    from wxyc_schema.library_identity as identity
    full join identity_sync.attempt on attempt.library_id = identity.library_id
    join wxyc_schema.library on library.id = coalesce(identity.library_id, attempt.library_id)
    where (identity.library_id is not null or library.canonical_entity_id is not null or include_null_canonical)
      and coalesce(attempt.outcome not in ('released', 'held'), true)
      and identity_sync_private.has_name(library.artist_name)
      and library.id not in (select identity_sync_private.libraries_not_on_discogs())
    group by 1, 2, 3, 4
  ),
  coming as (
    select
      -- In the order in which a mark and an identity hold a row back: the later one counts.
      greatest(
        marked.last_verified_at + make_interval(days => stale_days),
        marked.attempted_at
          + make_interval(days => case when marked.is_short then stale_days else unresolved_retry_days end)
      ) as due_at,
      marked.is_in_vain,
      marked.libraries
    from marked
  ),
  counted as (
    select
      (coming.due_at at time zone 'UTC')::date as day,
      sum(coming.libraries) filter (where not coming.is_in_vain) as stale,
      sum(coming.libraries) filter (where coming.is_in_vain) as in_vain
    from coming
    where coming.due_at > clock_timestamp()
      and coming.due_at < clock_timestamp() + make_interval(days => due_by_day.days)
    group by 1
  )
  select
    jsonb_agg(
      jsonb_build_object(
        'day', shown.day, 'stale', coalesce(counted.stale, 0), 'in_vain', coalesce(counted.in_vain, 0)
      )
      order by shown.day
    )
  from (
    select (clock_timestamp() at time zone 'UTC')::date + number as day
    from generate_series(0, due_by_day.days - 1) as number
  ) as shown
  left join counted on counted.day = shown.day;
$$;

revoke all on function identity_sync_private.due_by_day(integer, integer, boolean, integer) from public;

comment on function identity_sync_private.due_by_day(integer, integer, boolean, integer) is
  'Takes the parameters that decide which rows are due, and for how many days; returns for each day in UTC from today on the rows that become due then: stale, and in_vain whose window ends.';
--! EndIncluded functions/observe/due_by_day.sql
--! Included functions/observe/explain_due.sql
-- Why a library is due or is not, in one sentence that begins with the answer. It asks due_libraries, so that it says
-- what planning does.
create or replace function identity_sync_private.explain_due(
  library_id integer,
  stale_days integer,
  unresolved_retry_days integer,
  include_null_canonical boolean
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  library wxyc_schema.library;
  identity wxyc_schema.library_identity;
  attempt identity_sync.attempt;
  stale_before timestamptz;
  retry_before timestamptz;
  reason text;
  state text;
  window_days integer;
  due_at timestamptz;
  sentence text;
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  select * into library from wxyc_schema.library as asked where asked.id = explain_due.library_id;
  select * into identity from wxyc_schema.library_identity as known where known.library_id = explain_due.library_id;
  select * into attempt from identity_sync.attempt as known where known.library_id = explain_due.library_id;
  select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))
  into reason
  from identity_sync_private.due_libraries(
    stale_before, retry_before, include_null_canonical, array[explain_due.library_id]
  ) as due;

  state := identity_sync_private.state_of_library(
    identity_sync_private.has_name(library.artist_name),
    library.id not in (select identity_sync_private.libraries_not_on_discogs()),
    reason is not null,
    attempt.outcome = 'held'
      or identity.library_id is not null and identity_sync_private.is_set_by_hand(identity.method, identity.notes),
    library.canonical_entity_id is not null or include_null_canonical or identity.library_id is not null,
    identity.last_verified_at > stale_before
  );
  window_days := case
    when identity_sync_private.is_short_attempt(attempt.outcome) then stale_days
    else unresolved_retry_days
  end;
  -- Of a row that both a mark and an identity keep from being due, the later end counts.
  due_at := case
    when state = 'due' then clock_timestamp()
    when state in ('fresh', 'waiting', 'held') and attempt.outcome is distinct from 'held' then greatest(
      identity.last_verified_at + make_interval(days => stale_days),
      attempt.attempted_at + make_interval(days => window_days)
    )
  end;
  sentence := case
    when state = 'no_name' then 'never asked: it has no artist name'
    when state = 'not_on_discogs' then 'not asked: a person has said that it is not on Discogs'
    when state = 'not_canonical' then 'not asked: it has no canonical entity and no identity'
    when reason = 'never_asked' then 'due now: it was never asked'
    when reason = 'released' then format('due now: released on %s', identity_sync_private.utc(attempt.released_at))
    when reason = 'renamed' then 'due now: its artist name or album title is another than LML was asked by'
    when reason = 'in_vain' then format(
      'due now: asked in vain (%s) on %s, which holds for %s days',
      attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    when reason = 'stale' then format(
      'due now: verified on %s, stale after %s days', identity_sync_private.utc(identity.last_verified_at), stale_days
    )
    when attempt.outcome = 'held' then 'held by hand: it is not asked until it is released'
    when state = 'held' then format(
      'held by hand: asked again on %s, but left as it is until it is released', identity_sync_private.utc(due_at)
    )
    when attempt.library_id is not null then format(
      'due on %s: asked in vain (%s) on %s, which holds for %s days',
      identity_sync_private.utc(due_at), attempt.outcome, identity_sync_private.utc(attempt.attempted_at), window_days
    )
    else format(
      'due on %s: verified on %s, stale after %s days',
      identity_sync_private.utc(due_at), identity_sync_private.utc(identity.last_verified_at), stale_days
    )
  end;
  return jsonb_build_object(
    'is_due', state = 'due', 'state', state, 'reason', reason, 'due_at', due_at, 'sentence', sentence
  );
end;
$$;

revoke all on function identity_sync_private.explain_due(integer, integer, integer, boolean) from public;

comment on function identity_sync_private.explain_due(integer, integer, integer, boolean) is
  'Takes a library and the parameters that decide whether it is due; returns is_due, its state, the reason, when it is due and a sentence. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/explain_due.sql
--! Included functions/observe/timeline_of.sql
-- What has happened to a library, the newest first: one event a call of the writer that changed it, each column old
-- beside new; the batches it was asked in, as long as they are kept; refusals and how they were closed.
create or replace function identity_sync_private.timeline_of(library_id integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
-- A library has few events, and the planner takes them for many: it would read every settlement.
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
  with event as (
    select
      change.at, change.kind, change.settlement_id, change.words, change.changes, null::bigint as run_id
    from identity_sync_private.changes_of(timeline_of.library_id) as change
    union all
    select
      coalesce(batch.answered_at, batch.closed_at), 'asked', null,
      format('batch %s: %s', batch.batch_id, coalesce(batch.failure, batch.state)), null, batch.run_id
    from identity_sync.batch
    where timeline_of.library_id = any (batch.library_ids) and batch.closed_at is not null
    union all
    select
      attempt.attempted_at, 'mark', attempt.settlement_id, attempt.outcome, null, null
    from identity_sync.attempt
    where attempt.library_id = timeline_of.library_id
    union all
    select
      entry.quarantined_at, 'quarantined', coalesce(entry.first_settlement_id, entry.settlement_id),
      format('%s: %s', entry.outcome, coalesce(entry.message, entry.reason)),
      jsonb_build_array(jsonb_build_object('row', 'verdict', 'column', entry.path, 'old', null, 'new', entry.value)),
      null
    from identity_sync.quarantined_verdict as entry
    where entry.library_id = timeline_of.library_id
    union all
    select entry.closed_at, 'quarantine_closed', null, entry.closed_reason, null, null
    from identity_sync.quarantined_verdict as entry
    where entry.library_id = timeline_of.library_id and entry.closed_at is not null
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'at', event.at,
          'kind', event.kind,
          'run_id', coalesce(event.run_id, settlement.run_id),
          'batch_id', settlement.batch_id,
          'origin', settlement.origin,
          'by', settlement.settled_by,
          'what', event.words,
          'changes', coalesce(event.changes, '[]')
        )
        order by event.at desc, event.settlement_id desc nulls last
      ),
      '[]'
    )
  from event
  left join identity_sync.settlement on settlement.settlement_id = event.settlement_id;
$$;

revoke all on function identity_sync_private.timeline_of(integer) from public;

comment on function identity_sync_private.timeline_of(integer) is
  'Takes a library; returns its events as an array, the newest first: identified, changed, asked, mark, quarantined and quarantine_closed, each with time, run, origin, words and changes (row, column, old, new).';
--! EndIncluded functions/observe/timeline_of.sql
--! Included functions/observe/unsuitable_settings.sql
-- Names the settings of this session under which a run is slow or cut off, which a database or a login may have as its
-- default.
create or replace function identity_sync_private.unsuitable_settings()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('%s = %s', name, current_setting(name)), ', ' order by name)
  from pg_settings
  where name = 'default_transaction_isolation' and setting <> 'read committed'
    or name = 'idle_session_timeout' and setting <> '0'
    or name = 'statement_timeout' and setting::bigint between 1 and 59999;
$$;

revoke all on function identity_sync_private.unsuitable_settings() from public;

comment on function identity_sync_private.unsuitable_settings() is
  'Returns the settings of this session that do not suit a run, with their values, or NULL.';
--! EndIncluded functions/observe/unsuitable_settings.sql
--! Included functions/observe/identity_check.sql
-- Looks at all that a run, or an operator, needs of database and login, and names each fault with its cure, before a
-- night finds it. It runs with its caller's rights, since these are what it looks at, and changes nothing. What only a
-- run needs is no fault of an operator's login.
create or replace function identity_sync.identity_check(
  known text[], asked_at timestamptz default clock_timestamp(), sslmode text default null, has_lml boolean default true
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with fact as (
    select
      callable.*,
      case when is_operator and not is_worker then 'operator' else 'worker' end as role,
      (select pg_has_role(nspowner, 'USAGE') from pg_namespace where nspname = 'identity_sync') as is_owner,
      array_to_string(identity_sync.lost_columns(), ', ') as lost,
      identity_sync.missing_migrations(known) as lacking,
      (select string_agg(filename, ', ' order by filename) from graphile_migrate.migrations where hash <> all (known))
        as newer,
      round(1000 * extract(epoch from clock_timestamp() - asked_at)) as ahead_ms,
      (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as is_encrypted,
      coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,
      identity_sync_private.closed_queue() as closed,
      identity_sync_private.unsuitable_settings() as unsuitable
    from (
      select
        -- Each of them: a migrate may have made one anew, without its grants.
        bool_and(has_function_privilege(oid, 'EXECUTE')) filter (where proname <> 'undo_identity_run') as is_worker,
        bool_and(has_function_privilege(oid, 'EXECUTE')) filter (where proname = 'undo_identity_run') as is_operator
      from pg_proc
      where pronamespace = 'identity_sync'::regnamespace
        and proname in ('plan_identity_run', 'claim_identity_batch', 'finish_identity_call', 'undo_identity_run')
    ) as callable
  ),
  seen as (
    select
      1 as place, 'database' as name,
      case
        when pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean
          or current_setting('server_version_num')::integer < 140000 or current_setting('server_encoding') <> 'UTF8'
        then 'fail'
        else 'ok'
      end as status,
      format(
        'PostgreSQL %s, %s, time zone %s%s', current_setting('server_version'), current_setting('server_encoding'),
        current_setting('TimeZone'),
        case
          when pg_is_in_recovery() then '; a standby, which takes no write'
          when current_setting('default_transaction_read_only')::boolean then '; transactions are read only by default'
          else ''
        end
      ) as message,
      'A primary in UTF8 of PostgreSQL 14 or newer, and default_transaction_read_only = off.' as cure
    from fact
    union all
    select
      2, 'TLS',
      case when is_local or is_encrypted and sslmode like 'verify-%' then 'ok' else 'warn' end,
      case
        when is_encrypted then format(
          'encrypted, sslmode %s%s', coalesce(sslmode, 'not known'),
          case when sslmode like 'verify-%' then '' else ': it proves nothing about the server' end
        )
        when is_local then 'none, and none needed on one machine'
        else 'none: all that is read and written crosses the network in the open'
      end,
      'DATABASE_URL with sslmode=verify-full and sslrootcert (README, "The way to the database").'
    from fact
    union all
    select
      3, 'clock', case when abs(ahead_ms) < 30000 then 'ok' else 'warn' end,
      case
        when abs(ahead_ms) < 1000 then 'as ours, within a second'
        when ahead_ms > 0 then format('%s s ahead of ours', round(ahead_ms / 1000))
        else format('%s s behind ours', round(-ahead_ms / 1000))
      end,
      'Have both machines take their time from NTP: log and tables disagree until then.'
    from fact
    union all
    select
      4, 'login', case when is_worker or is_operator then 'ok' else 'fail' end,
      format(
        '%I may %s', current_user,
        concat_ws(', ', case when is_worker then 'run and work' end, case when is_operator then 'repair' end,
          case when is_owner then 'migrate' end, case when not is_worker then 'not run: it is no worker' end)
      ),
      format(
        'psql "$DBA_URL" -v worker=%1$I -f sql/roles.sql, or -v operator=%1$I (README, "Which login").', current_user
      )
    from fact
    union all
    select
      5, 'session', case when unsuitable is null then 'ok' else 'warn' end,
      coalesce(unsuitable, 'isolation and timeouts suit a run'),
      format('psql "$DBA_URL" -v %s=%I -f sql/roles.sql sets them for this login.', role, current_user)
    from fact
    union all
    select
      6, 'schema', case when newer is null and lacking = 0 then 'ok' else 'fail' end,
      case
        when newer is not null then 'newer than this program: it has ' || newer
        when lacking > 0 then format('older than this program: it lacks %s of its migrations', lacking)
        else 'as this program'
      end,
      case
        when newer is not null then 'Deploy the version of identity-sync that made these migrations, or a newer one.'
        else 'identity-sync migrate as its owner, then sql/roles.sql.'
      end
    from fact
    union all
    select
      7, 'columns', case when lost = '' then 'ok' else 'fail' end,
      case when lost = '' then 'all there' else 'wxyc_schema lacks ' || lost end,
      'Add what is gone: identity-sync migrate names each column with its type.'
    from fact
    union all
    select
      8, 'queue',
      case when to_regnamespace('graphile_worker') is null or is_worker and closed <> '' then 'fail' else 'ok' end,
      case
        when to_regnamespace('graphile_worker') is null then 'graphile-worker''s schema is not there'
        when not is_worker then 'not needed by this login'
        else coalesce('closed to this login: ' || closed, 'open to this login')
      end,
      format('identity-sync migrate, then psql "$DBA_URL" -v %s=%I -f sql/roles.sql', role, current_user)
    from fact
    union all
    select
      9, 'LML', case when is_worker then 'fail' else 'ok' end,
      'LIBRARY_METADATA_URL is not set' || case when is_worker then '' else ', and only a run needs it' end,
      'LIBRARY_METADATA_URL says where LML is.'
    from fact
    where not has_lml
    union all
    select
      10, 'planning', 'warn',
      format(
        'on hold since %s UTC (%s): %s',
        to_char(hold.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), hold.name, hold.reason
      ),
      format('identity-sync resume %s, when what is behind it is cured.', hold.name)
    from identity_sync_private.holds_in_force() as hold
  )
  select jsonb_agg(
    jsonb_build_object(
      'check', seen.name, 'status', seen.status, 'message', seen.message,
      'cure', case when seen.status <> 'ok' then seen.cure end
    )
    order by seen.place, seen.message
  )
  from seen;
$$;

revoke all on function identity_sync.identity_check(text[], timestamptz, text, boolean) from public;

comment on function identity_sync.identity_check(text[], timestamptz, text, boolean) is
  'Takes the hashes of the migrations that a program brings, its time, its sslmode, and whether it knows where LML is; returns what a worker''s or an operator''s login needs, each as check, status (ok, warn, or fail where a run, or a repair by an operator, would fail), message and cure.';
--! EndIncluded functions/observe/identity_check.sql
--! Included functions/observe/sum_coverage.sql
-- The view coverage by source, with what share of the catalogue each source knows. It counts for itself, since telling
-- compilations apart takes more time than all else.
create or replace function identity_sync_private.sum_coverage()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with counted as materialized (
    select 'composed' as source, known.method, known.confidence, count(*) as libraries
    from wxyc_schema.library_identity as known
    group by known.method, known.confidence
    union all
    select known.source, known.method, known.confidence, count(*)
    from wxyc_schema.library_identity_source as known
    group by known.source, known.method, known.confidence
  ),
  by_method as (
    select counted.source, counted.method, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.method
  ),
  by_band as (
    select
      counted.source,
      identity_sync_private.confidence_band(counted.confidence) as confidence_band,
      sum(counted.libraries) as libraries
    from counted
    group by 1, 2
  ),
  by_source as (
    select by_method.source, sum(by_method.libraries) as libraries, jsonb_object_agg(method, libraries) as methods
    from by_method
    group by by_method.source
  )
  select
    coalesce(
      jsonb_object_agg(
        by_source.source,
        jsonb_build_object(
          'libraries', by_source.libraries,
          'share', round(by_source.libraries / (select count(*) from wxyc_schema.library), 4),
          'methods', by_source.methods,
          'bands', (
            select jsonb_object_agg(by_band.confidence_band, by_band.libraries)
            from by_band
            where by_band.source = by_source.source
          )
        )
      ),
      '{}'
    )
  from by_source;
$$;

revoke all on function identity_sync_private.sum_coverage() from public;

comment on function identity_sync_private.sum_coverage() is
  'Returns for each source, and for composed, the libraries that have it, their share of the catalogue, and how many by method and by band of confidence.';
--! EndIncluded functions/observe/sum_coverage.sql
--! Included views/coverage.sql
-- Shows how much of the catalogue is identified, and how well: library rows by source, method, confidence and cohort.
-- The source "composed" stands for the main row. Compilations are few and are found first, since a join of every
-- source with its library takes three times as long.
create or replace view identity_sync.coverage as
with compilation as (
  select library.id
  from wxyc_schema.library
  left join (
    select distinct credit.library_id
    from wxyc_schema.compilation_track_artist as credit
  ) as credited on credited.library_id = library.id
  where identity_sync_private.cohort_of(library.code_volume_letters, credited.library_id is not null) = 'va'
)
select
  counted.source,
  counted.method,
  identity_sync_private.confidence_band(counted.confidence) as confidence_band,
  case when counted.is_compilation then 'va' else 'non_va' end as cohort,
  sum(counted.libraries)::bigint as libraries
from (
  -- Confidences are few, so that a band is found a group and not a row.
  select
    stored.source,
    stored.method,
    stored.confidence,
    stored.library_id in (select compilation.id from compilation) as is_compilation,
    count(*) as libraries
  from (
    select known.library_id, 'composed' as source, known.method, known.confidence
    from wxyc_schema.library_identity as known
    union all
    select known.library_id, known.source, known.method, known.confidence
    from wxyc_schema.library_identity_source as known
  ) as stored
  group by 1, 2, 3, 4
) as counted
group by 1, 2, 3, 4
order by 1, 2, 3, 4;

comment on view identity_sync.coverage is
  'Library rows with an identity (source composed) and with each source, by method, band of confidence and cohort.';
--! EndIncluded views/coverage.sql
