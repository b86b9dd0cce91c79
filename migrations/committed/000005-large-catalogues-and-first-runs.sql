--! Previous: sha1:0f12aeb7789cdd82ae18daaec67d84e75f8584be
--! Hash: sha1:c901de72d4c55b86144ce79535e6a68a57bd1a4e
--! Message: large catalogues and first runs

-- Marks are moved as often as identities are confirmed, and no index holds what moves.
alter table identity_sync.attempt set (fillfactor = 50);

--! Included functions/is_blank.sql
-- Whether a name says nothing: NULL, empty, or nothing but white space, the Unicode kinds of it included.
-- LML refuses a whole batch for one such name. Its cost makes the planner look at it last.
create or replace function identity_sync.is_blank(name text)
returns boolean
language sql immutable parallel safe cost 50
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(is_blank.name, '') !~ '[^\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]';
$$;

revoke all on function identity_sync.is_blank(text) from public;

comment on function identity_sync.is_blank(text) is
  'Takes a name or NULL; returns whether it is NULL, empty or white space only.';
--! EndIncluded functions/is_blank.sql
--! Included functions/due_libraries.sql
-- The libraries that are due by their identity and their mark alone, whatever their name: those never asked, those whose
-- mark holds no longer, and those whose identity is stale. Each kind is looked for where it is rare, so that a large
-- catalogue with little to ask is planned in the time of reading two indexes.
create or replace function identity_sync.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean
)
returns setof integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select library.id
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)

  union all
  select attempt.library_id
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where attempt.outcome = 'released'
    or (
      attempt.attempted_at <= case attempt.outcome when 'manual_precedence' then stale_before else retry_before end
      and case
        when identity.library_id is null then library.canonical_entity_id is not null or include_null_canonical
        else identity.last_verified_at <= stale_before
      end
    )

  union all
  select identity.library_id
  from wxyc_schema.library_identity as identity
  where identity.last_verified_at <= stale_before
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id);
end;
$$;

revoke all on function identity_sync.due_libraries(timestamptz, timestamptz, boolean) from public;

comment on function identity_sync.due_libraries(timestamptz, timestamptz, boolean) is
  'Takes the times before which an identity is stale and an answer in vain is asked again, and whether rows without a canonical entity count; returns the ids of the libraries that are due.';
--! EndIncluded functions/due_libraries.sql
--! Included functions/identity_candidates.sql
-- The rows that a run would ask LML for, with the cohort that decides the size of their batch.
-- A row whose artist name is NULL or blank is never one, since LML would refuse its whole batch; a released row always is.
-- It writes nothing, and after a run the rows which that run settled are no candidates of the scope due.
create or replace function identity_sync.identity_candidates(
  scope text default 'due',
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false,
  partition_index integer default 0,
  partition_count integer default 1,
  ids integer[] default null
)
returns table (library_id integer, cohort text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  stale_before constant timestamptz := clock_timestamp() - make_interval(days => stale_days);
  retry_before constant timestamptz := clock_timestamp() - make_interval(days => unresolved_retry_days);
begin
  perform identity_sync.check_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );

  return query
  with reached as (
    select due.library_id
    from identity_sync.due_libraries(stale_before, retry_before, include_null_canonical) as due (library_id)
    where scope = 'due'
    union all
    select library.id
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    where scope = 'refresh'
      and (library.canonical_entity_id is not null or identity.last_verified_at <= stale_before)
    union all
    select attempt.library_id
    from identity_sync.attempt
    where scope = 'recheck' and attempt.outcome not in ('manual_precedence', 'released')
    union all
    select library.id
    from wxyc_schema.library
    where scope = 'ids' and library.id = any (identity_candidates.ids)
  )
  select candidate.id, candidate.cohort
  from (
    select
      library.id,
      library.artist_name,
      case
        when coalesce(library.code_volume_letters, '') like 'Z%'
          or exists (
            select from wxyc_schema.compilation_track_artist as credit where credit.library_id = library.id
          )
        then 'va'
        else 'non_va'
      end as cohort
    from reached
    join wxyc_schema.library on library.id = reached.library_id
    where library.id % partition_count = partition_index
      and (identity_candidates.ids is null or library.id = any (identity_candidates.ids))
  ) as candidate
  where (scope <> 'recheck' or candidate.cohort = 'va')
    and not identity_sync.is_blank(candidate.artist_name);
end;
$$;

revoke all on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[])
from public;

comment on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[]) is
  'Takes a scope (due, refresh, recheck, ids), the days after which an identity is stale and an answer in vain is asked again, whether rows without a canonical entity count, a partition (id % count = index) and ids to narrow it to; returns the rows a run would ask for and their cohort (va: compilation-shaped, non_va). Raises LS001 for a value out of range.';
--! EndIncluded functions/identity_candidates.sql
--! Included functions/judge_identity_verdicts.sql
-- Judges every result of an answer on its own, by the wire contract alone, and writes nothing.
-- What is fine comes back typed and ready to be settled; what is not carries its outcome only, and explain_refusal finds
-- the words, so that the many good verdicts pay for one cheap expression and only the few bad ones for a reason.
create or replace function identity_sync.judge_identity_verdicts(
  results jsonb,
  requested integer[],
  strict_bands boolean,
  tracks_contract_version jsonb
)
returns identity_sync.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  methods constant text[] := array[
    'exact_match', 'cross_source_agreement', 'name_variation', 'alias_match', 'trigram', 'member_group', 'llm', 'manual'
  ];
  judged identity_sync.judged_verdict[];
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
          when library.id is null then 'library_gone'
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
        end
      )::identity_sync.judged_verdict
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
        then identity_sync.best_judged_sources(provenance.named)
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
          )::identity_sync.judged_source
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
  left join wxyc_schema.library on library.id = verdict.id;

  if has_repeated then
    judged := identity_sync.distrust_repeated(judged);
  end if;

  if has_repeated or answered_count < cardinality(requested) then
    judged := judged || array(
      select
        row(
          null,
          asked.id,
          case when library.id is null then 'library_gone' else 'lml_cardinality_mismatch' end,
          null, null, null, null, null, null, null, null, null, 0, 0, 0
        )::identity_sync.judged_verdict
      from unnest(requested) as asked (id)
      left join wxyc_schema.library on library.id = asked.id
      where not exists (select from unnest(judged) as verdict where verdict.library_id = asked.id)
      order by asked.id
    );
  end if;

  return judged;
end;
$$;

revoke all on function identity_sync.judge_identity_verdicts(jsonb, integer[], boolean, jsonb) from public;

comment on function identity_sync.judge_identity_verdicts(jsonb, integer[], boolean, jsonb) is
  'Takes LML''s results as a JSON array, the distinct ids that were asked (NULL: trust every id), whether a confidence outside its method''s band refuses its verdict, and the tracks_contract_version of the answer; returns one judged verdict a result and one an id without a result, NULL where there is neither. The rules are the wire contract''s.';
--! EndIncluded functions/judge_identity_verdicts.sql
--! Included functions/settle_identity_verdicts.sql
-- Writes judged verdicts: finds out what each would change, then issues one statement a kind of change, and none where
-- nothing changes. Columns of other writers are never named, what is changed or removed is kept as it was, and every
-- statement must touch the very rows that were looked at. It does all of it or raises, so that its caller can isolate a
-- culprit; called again with the same verdicts it moves nothing but last_verified_at.
create or replace function identity_sync.settle_identity_verdicts(
  verdicts identity_sync.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync.settled_verdicts
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans must not be made for the empty tables of a first run: every access is by primary key, a few hundred at a time.
set enable_seqscan = off
as $$
declare
  by_hand constant boolean := starts_with(origin, 'repair:');
  reason constant text := format('verdict of %s, settlement %s', origin, settlement_id);
  settled identity_sync.settled_verdicts;
  fresh identity_sync.judged_verdict[];
  differing identity_sync.judged_verdict[];
  differing_versions tid[];
  confirmed_ids integer[];
  confirmed_versions tid[];
  -- Those whose source rows have to be compared, and how many source rows the others bring.
  to_compare identity_sync.judged_verdict[];
  fresh_sources integer;
  changes identity_sync.source_change[];
  touched integer;
begin
  select
    array_agg(compared.verdict) filter (where compared.fate = 'change'),
    array_agg(compared.version) filter (where compared.fate = 'change'),
    array_agg(compared.library_id)
      filter (where compared.fate = 'confirm' and compared.last_verified_at < settle_identity_verdicts.verified_at),
    array_agg(compared.version)
      filter (where compared.fate = 'confirm' and compared.last_verified_at < settle_identity_verdicts.verified_at),
    sum(cardinality((compared.verdict).sources)) filter (where compared.fate = 'insert'),
    coalesce(array_agg(compared.library_id) filter (where compared.fate = 'insert'), '{}'),
    coalesce(array_agg(compared.library_id) filter (where compared.fate = 'change'), '{}'),
    coalesce(array_agg(compared.library_id) filter (where compared.fate = 'confirm'), '{}'),
    coalesce(array_agg(compared.library_id) filter (where compared.fate = 'hold'), '{}'),
    coalesce(array_agg(compared.library_id) filter (where compared.fate = 'overtaken'), '{}')
  into
    differing, differing_versions, confirmed_ids, confirmed_versions, fresh_sources,
    settled.inserted, settled.changed, settled.unchanged, settled.manual_precedence, settled.stale_verdict
  from (
    select
      verdict,
      verdict.library_id,
      known.ctid as version,
      known.last_verified_at,
      case
        when known.library_id is null then 'insert'
        when not by_hand
          and (
            starts_with(known.notes, 'repair:')
            or (known.method = 'manual' and known.notes is distinct from 'consumer:lml-bulk')
          )
        then 'hold'
        when not by_hand and known.last_verified_at > settle_identity_verdicts.verified_at then 'overtaken'
        when known.discogs_artist_id is distinct from verdict.discogs_artist_id
          or known.musicbrainz_artist_id is distinct from verdict.musicbrainz_artist_id
          or known.wikidata_qid is distinct from verdict.wikidata_qid
          or known.spotify_id is distinct from verdict.spotify_id
          or known.apple_music_id is distinct from verdict.apple_music_id
          or known.bandcamp_id is distinct from verdict.bandcamp_id
          or known.method is distinct from verdict.method
          or known.confidence is distinct from verdict.confidence
        then 'change'
        else 'confirm'
      end as fate
    from unnest(verdicts) as verdict
    left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
    offset 0
  ) as compared;

  -- Most batches are all new or all known, and then nothing has to be picked out.
  fresh := case cardinality(settled.inserted)
    when 0 then null
    when cardinality(verdicts) then verdicts
    else array(select verdict from unnest(verdicts) as verdict where verdict.library_id = any (settled.inserted))
  end;
  to_compare := case cardinality(settled.changed || settled.unchanged)
    when 0 then null
    when cardinality(verdicts) then verdicts
    else array(
      select verdict from unnest(verdicts) as verdict
      where verdict.library_id = any (settled.changed || settled.unchanged)
    )
  end;

  if fresh is not null then
    insert into wxyc_schema.library_identity (
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes
    )
    select
      verdict.library_id, verdict.discogs_artist_id, verdict.musicbrainz_artist_id, verdict.wikidata_qid,
      verdict.spotify_id, verdict.apple_music_id, verdict.bandcamp_id,
      verdict.method, verdict.confidence, settle_identity_verdicts.verified_at, settle_identity_verdicts.origin
    from unnest(fresh) as verdict;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('identities inserted', cardinality(fresh), touched);
  end if;

  if differing is not null then
    settled.history_ids := identity_sync.keep_identity_history(
      settled.changed, reason, case when by_hand then 'repair' else 'verdict' end
    );
    perform identity_sync.expect_rows(
      'identities kept in history', cardinality(differing), cardinality(settled.history_ids)
    );

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = verdict.discogs_artist_id,
      musicbrainz_artist_id = verdict.musicbrainz_artist_id,
      wikidata_qid = verdict.wikidata_qid,
      spotify_id = verdict.spotify_id,
      apple_music_id = verdict.apple_music_id,
      bandcamp_id = verdict.bandcamp_id,
      method = verdict.method,
      confidence = verdict.confidence,
      last_verified_at = settle_identity_verdicts.verified_at,
      notes = settle_identity_verdicts.origin
    from rows from (unnest(differing), unnest(differing_versions)) as verdict (
      ordinal, library_id, outcome, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id,
      bandcamp_id, method, confidence, sources, null_confidence, duplicate, out_of_band, version
    )
    where known.library_id = verdict.library_id and (known.ctid = verdict.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('identities changed', cardinality(differing), touched);
  end if;

  if confirmed_ids is not null then
    update wxyc_schema.library_identity as known
    set last_verified_at = settle_identity_verdicts.verified_at
    from unnest(confirmed_ids, confirmed_versions) as seen (library_id, version)
    where known.library_id = seen.library_id and (known.ctid = seen.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('identities confirmed', cardinality(confirmed_ids), touched);
  end if;

  -- A new identity has no source rows to be compared with, unless somebody else has left some.
  if fresh is not null and exists (
    select from wxyc_schema.library_identity_source as known where known.library_id = any (settled.inserted)
  )
  then
    to_compare := to_compare || fresh;
    fresh_sources := null;
  end if;

  -- The source rows beside those that are there. A row of ours that the verdict no longer names goes, another writer's
  -- stays.
  select
    array_agg(
      row(
        compared.library_id, compared.source, compared.external_id, compared.method, compared.confidence, compared.action,
        compared.version
      )::identity_sync.source_change
    ) filter (where compared.action in ('inserted', 'changed', 'removed')),
    count(*) filter (where compared.action = 'inserted'),
    count(*) filter (where compared.action = 'changed'),
    count(*) filter (where compared.action = 'unchanged'),
    count(*) filter (where compared.action = 'removed')
  into
    changes,
    settled.source_inserted, settled.source_changed, settled.source_unchanged, settled.source_removed
  from (
    select
      coalesce(named.library_id, known.library_id) as library_id,
      coalesce(named.source, known.source) as source,
      named.external_id,
      named.method,
      named.confidence,
      known.version,
      case
        when known.library_id is null then 'inserted'
        when named.library_id is null and (known.notes = 'consumer:lml-bulk' or starts_with(known.notes, 'repair:'))
        then 'removed'
        when named.library_id is null then 'kept'
        when named.external_id is distinct from known.external_id
          or named.method is distinct from known.method
          or named.confidence is distinct from known.confidence
        then 'changed'
        else 'unchanged'
      end as action
    from (
      select verdict.library_id, judged.source, judged.external_id, judged.method, judged.confidence
      from unnest(to_compare) as verdict
      cross join lateral unnest(verdict.sources) as judged
    ) as named
    full join (
      select
        existing.library_id, existing.source, existing.external_id, existing.method, existing.confidence, existing.notes,
        existing.ctid as version
      from wxyc_schema.library_identity_source as existing
      where existing.library_id = any (array(select verdict.library_id from unnest(to_compare) as verdict))
    ) as known on known.library_id = named.library_id and known.source = named.source
    offset 0
  ) as compared;

  if fresh_sources > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      verdict.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
      settle_identity_verdicts.verified_at, settle_identity_verdicts.origin
    from unnest(fresh) as verdict
    cross join lateral unnest(verdict.sources) as judged;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('source rows of new identities', fresh_sources, touched);
  end if;

  if settled.source_changed + settled.source_removed > 0 then
    insert into identity_sync.superseded_source (
      settlement_id, library_id, source, action,
      external_id, method, confidence, last_verified_at, boost_sources, notes, superseded_reason
    )
    select
      settle_identity_verdicts.settlement_id, known.library_id, known.source, change.action,
      known.external_id, known.method, known.confidence, known.last_verified_at, known.boost_sources, known.notes, reason
    from unnest(changes) as change
    join wxyc_schema.library_identity_source as known
      on known.library_id = change.library_id and known.source = change.source
    where change.action in ('changed', 'removed');
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('source rows kept', settled.source_changed + settled.source_removed, touched);
  end if;

  if settled.source_removed > 0 then
    delete from wxyc_schema.library_identity_source as known
    using unnest(changes) as change
    where change.action = 'removed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('source rows removed', settled.source_removed, touched);
  end if;

  if settled.source_changed > 0 then
    update wxyc_schema.library_identity_source as known
    set
      external_id = change.external_id,
      method = change.method,
      confidence = change.confidence,
      last_verified_at = settle_identity_verdicts.verified_at,
      notes = settle_identity_verdicts.origin
    from unnest(changes) as change
    where change.action = 'changed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('source rows changed', settled.source_changed, touched);
  end if;

  if settled.source_inserted > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      change.library_id, change.source, change.external_id, change.method, change.confidence,
      settle_identity_verdicts.verified_at, settle_identity_verdicts.origin
    from unnest(changes) as change
    where change.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('source rows inserted', settled.source_inserted, touched);

    -- Undoing must know what was added to an identity that was there; of a new identity everything was.
    if cardinality(settled.changed) + cardinality(settled.unchanged) > 0 then
      insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
      select settle_identity_verdicts.settlement_id, change.library_id, change.source, change.action, reason
      from unnest(changes) as change
      where change.action = 'inserted'
        and change.library_id = any (settled.changed || settled.unchanged);
    end if;
  end if;

  -- A constraint that would speak only at the commit is heard here, where its culprit can still be found.
  set constraints all immediate;

  settled.source_inserted := settled.source_inserted + coalesce(fresh_sources, 0);
  settled.library_gone := '{}';
  settled.history_ids := coalesce(settled.history_ids, '{}');
  settled.refused := '{}';
  settled.linked_credit_ids := '{}';
  settled.positioned_credit_ids := '{}';
  settled.compilation_track := identity_sync.empty_report() -> 'compilation_track';
  return settled;
end;
$$;

revoke all on function identity_sync.settle_identity_verdicts(identity_sync.judged_verdict[], text, timestamptz, bigint)
from public;

comment on function identity_sync.settle_identity_verdicts(identity_sync.judged_verdict[], text, timestamptz, bigint) is
  'Takes judged single_artist verdicts, whose libraries the caller has locked, with their origin, time and settlement; writes them and returns the ids by what became of them. Raises whatever the database refuses, and LS006 where rows were changed meanwhile.';
--! EndIncluded functions/settle_identity_verdicts.sql
--! Included functions/count_outcomes.sql
-- Makes the report of a settlement out of its outcomes, so that no counter can say what was not recorded.
-- What was left out of a verdict's sources counts only where the verdict was written.
create or replace function identity_sync.count_outcomes(
  outcomes identity_sync.verdict_outcome[],
  judged identity_sync.judged_verdict[],
  settled identity_sync.settled_verdicts
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with reached as (
    select
      count(*) as scanned,
      count(*) filter (where listed.outcome = 'resolved') as resolved,
      count(*) filter (where listed.outcome = 'resolved_compilation') as resolved_compilation,
      count(*) filter (where listed.outcome = 'unresolved') as unresolved
    from unnest(outcomes) as listed
  ),
  skipped as (
    select jsonb_object_agg(counted.outcome, counted.rows) as counts
    from (
      select listed.outcome, count(*) as rows
      from unnest(outcomes) as listed
      where listed.outcome not in ('resolved', 'resolved_compilation', 'unresolved')
      group by listed.outcome
    ) as counted
  ),
  left_out as (
    select
      coalesce(sum(verdict.null_confidence), 0) as null_confidence,
      coalesce(sum(verdict.duplicate), 0) as duplicate,
      coalesce(sum(verdict.out_of_band), 0) as out_of_band
    -- The outcomes of what was judged come first, and in its order.
    from rows from (unnest(outcomes), unnest(judged)) as verdict (
      result, id, reached, ordinal, library_id, outcome, discogs_artist_id, musicbrainz_artist_id, wikidata_qid,
      spotify_id, apple_music_id, bandcamp_id, method, confidence, sources, null_confidence, duplicate, out_of_band
    )
    where verdict.outcome = 'resolved' and verdict.reached = 'resolved'
  )
  select
    identity_sync.empty_report()
    || jsonb_build_object(
      'scanned', reached.scanned,
      'rows_resolved', reached.resolved,
      'rows_resolved_compilation', reached.resolved_compilation,
      'rows_unresolved', reached.unresolved,
      'rows_skipped', (identity_sync.empty_report() -> 'rows_skipped') || coalesce(skipped.counts, '{}'),
      'source_rows_skipped_null_confidence', left_out.null_confidence,
      'source_rows_skipped_duplicate', left_out.duplicate,
      'source_rows_out_of_band', left_out.out_of_band,
      'identity', jsonb_build_object(
        'inserted', cardinality(settled.inserted),
        'changed', cardinality(settled.changed),
        'unchanged', cardinality(settled.unchanged)
      ),
      'source', jsonb_build_object(
        'inserted', settled.source_inserted,
        'changed', settled.source_changed,
        'unchanged', settled.source_unchanged,
        'removed', settled.source_removed
      ),
      'compilation_track', settled.compilation_track
    )
  from reached, skipped, left_out;
$$;

revoke all on function identity_sync.count_outcomes(
  identity_sync.verdict_outcome[], identity_sync.judged_verdict[], identity_sync.settled_verdicts
) from public;

comment on function identity_sync.count_outcomes(
  identity_sync.verdict_outcome[], identity_sync.judged_verdict[], identity_sync.settled_verdicts
) is
  'Takes the outcomes of a settlement, its judged verdicts and what was written; returns the report.';
--! EndIncluded functions/count_outcomes.sql
--! Included functions/mark_attempts.sql
-- Leaves the durable mark of every answer that left no fresh identity, and lifts the mark of every library that got one.
-- A mark that is newer than this answer stays, whichever way round the two arrive.
create or replace function identity_sync.mark_attempts(
  outcomes identity_sync.verdict_outcome[],
  verified_at timestamptz,
  by_hand boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  in_vain constant text[] := array[
    'unresolved', 'compilation', 'resolved_compilation', 'invalid_verdict', 'writer_error', 'manual_precedence'
  ];
begin
  if exists (select from unnest(outcomes) as reached where reached.outcome = any (in_vain)) then
    insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id)
    select
      reached.library_id,
      -- Its tracks were visited or not: either way LML has no more to say before the retry window is over.
      case reached.outcome when 'resolved_compilation' then 'compilation' else reached.outcome end,
      mark_attempts.verified_at,
      mark_attempts.settlement_id
    from unnest(outcomes) as reached
    where reached.outcome = any (in_vain) and reached.library_id is not null
    order by reached.library_id
    on conflict (library_id) do update
    set
      outcome = excluded.outcome,
      attempted_at = excluded.attempted_at,
      settlement_id = excluded.settlement_id
    where known.attempted_at <= excluded.attempted_at or mark_attempts.by_hand;
  end if;

  delete from identity_sync.attempt as known
  where known.library_id = any (
      array(select reached.library_id from unnest(outcomes) as reached where reached.outcome = 'resolved')
    )
    and (known.attempted_at <= mark_attempts.verified_at or mark_attempts.by_hand);
end;
$$;

revoke all on function identity_sync.mark_attempts(identity_sync.verdict_outcome[], timestamptz, boolean, bigint) from public;

comment on function identity_sync.mark_attempts(identity_sync.verdict_outcome[], timestamptz, boolean, bigint) is
  'Takes the outcomes of a settlement, the time of the answer, and whether a repair by hand overrides newer marks; writes and lifts attempts.';
--! EndIncluded functions/mark_attempts.sql
--! Included functions/apply_identity_verdicts.sql
-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run alike: judges every
-- verdict on its own, writes the good ones, quarantines the bad ones, and returns the report. Each library is all or
-- nothing, whatever is wrong with its neighbours. A second call with the same verdicts changes nothing.
create or replace function identity_sync.apply_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
as $$
declare
  stated_origin constant text := coalesce(origin, 'repair:' || session_user);
  by_hand constant boolean := starts_with(stated_origin, 'repair:');
  asked constant integer[] := (
    select coalesce(array_agg(distinct named.id), case when requested is not null then '{}'::integer[] end)
    from unnest(requested) as named (id)
    where named.id is not null
  );
  results constant jsonb := identity_sync.identity_results(response);
  set_aside constant jsonb := case when jsonb_typeof(response) = 'object' then response -> 'set_aside' end;
  -- Only a whole answer carries a version, and without one nothing can be said about tracks.
  tracks_contract_version constant jsonb := case
    when jsonb_typeof(response) = 'object' and response ? 'results' then response -> 'tracks_contract_version'
  end;
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  judged identity_sync.judged_verdict[];
  resolvable identity_sync.judged_verdict[];
  visited identity_sync.judged_verdict[];
  settled identity_sync.settled_verdicts;
  outcomes identity_sync.verdict_outcome[];
  judged_ids integer[];
  without_identity integer[];
  overtaken integer[] := '{}';
  asked_in_vain integer[] := '{}';
  novel integer;
  novel_unresolved_ids integer[];
  report jsonb;
begin
  if not by_hand and stated_origin <> 'consumer:lml-bulk' then
    raise exception using
      errcode = 'LS001',
      message = format('origin is %L', origin),
      hint = 'Allowed: consumer:lml-bulk for the service, a text that begins with repair: for a repair by hand, NULL for repair: and your login.';
  end if;
  if verified_at is null then
    raise exception using
      errcode = 'LS001',
      message = 'verified_at is NULL',
      hint = 'Name the time at which LML gave the answer, or leave it out for now.';
  end if;
  if strict_bands is null then
    raise exception using errcode = 'LS001', message = 'strict_bands is NULL', hint = 'Allowed: true, false.';
  end if;
  if results is null and asked is null then
    raise exception using
      errcode = 'LS003',
      message = 'the response is no answer of LML',
      detail = format('It is %s.', coalesce(left(response::text, 200), 'no JSON')),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;

  if results is not null then
    judged := identity_sync.judge_identity_verdicts(results, asked, strict_bands, tracks_contract_version);
    -- Nothing is ever written for an id that was not asked.
    judged_ids := coalesce(asked, array(select verdict.library_id from unnest(judged) as verdict));
    perform identity_sync.lock_identities(judged_ids);
    asked_in_vain := array(
      select attempt.library_id
      from identity_sync.attempt
      where attempt.library_id = any (judged_ids)
        and not exists (
          select from wxyc_schema.library_identity as known where known.library_id = attempt.library_id
        )
    );
    select
      array_agg(verdict) filter (where verdict.outcome = 'resolved'),
      array_agg(verdict) filter (where verdict.outcome = 'resolved_compilation'),
      array_agg(verdict.library_id) filter (where verdict.outcome in ('unresolved', 'compilation'))
    into resolvable, visited, without_identity
    from unnest(judged) as verdict;
    if not by_hand and without_identity is not null then
      overtaken := array(
        select known.library_id
        from wxyc_schema.library_identity as known
        where known.library_id = any (without_identity)
          and known.last_verified_at > apply_identity_verdicts.verified_at
      );
    end if;
  end if;

  settled := identity_sync.add_settled(
    identity_sync.settle_or_bisect(resolvable, results, stated_origin, verified_at, this_settlement),
    identity_sync.settle_or_bisect(visited, results, stated_origin, verified_at, this_settlement)
  );

  -- Every result, and every id without one, has exactly one outcome from here on.
  select array_agg(row(concluded.ordinal, concluded.library_id, concluded.outcome)::identity_sync.verdict_outcome)
  into outcomes
  from (
    select
      verdict.ordinal,
      verdict.library_id,
      case
        when verdict.outcome in ('resolved', 'resolved_compilation') then
          case
            when verdict.library_id = any (settled.manual_precedence) then 'manual_precedence'
            when verdict.library_id = any (settled.stale_verdict) then 'stale_verdict'
            when verdict.library_id = any (settled.library_gone) then 'library_gone'
            when exists (
              select from unnest(settled.refused) as refusal where refusal.library_id = verdict.library_id
            )
            then 'writer_error'
            else verdict.outcome
          end
        when verdict.outcome in ('unresolved', 'compilation') and verdict.library_id = any (overtaken)
        then 'stale_verdict'
        else verdict.outcome
      end as outcome
    from unnest(judged) as verdict
    union all
    select null, unanswered.id, 'lml_error'
    from unnest(case when results is null then asked end) as unanswered (id)
  ) as concluded;

  -- A shed is measured on rows that held an identity or were never asked before.
  select
    count(*),
    coalesce(array_agg(reached.library_id) filter (where reached.outcome = 'unresolved'), '{}')
  into novel, novel_unresolved_ids
  from unnest(outcomes) as reached
  where reached.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved')
    and reached.library_id <> all (asked_in_vain);

  perform identity_sync.mark_attempts(outcomes, verified_at, by_hand, this_settlement);

  report := identity_sync.count_outcomes(outcomes, judged, settled);

  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, asked, unasked, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, novel, novel_unresolved_ids
  )
  overriding system value
  values (
    this_settlement, stated_origin, verified_at,
    coalesce(cardinality(asked), cardinality(outcomes), 0),
    case when asked is null then 0 else coalesce(cardinality(outcomes), 0) - cardinality(asked) end,
    report, settled.inserted, settled.history_ids,
    settled.linked_credit_ids, settled.positioned_credit_ids, novel, novel_unresolved_ids
  );

  perform identity_sync.quarantine_verdicts(
    outcomes, results, set_aside, tracks_contract_version, settled.refused, stated_origin, verified_at, strict_bands,
    this_settlement
  );

  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; and whether a confidence outside its method''s band refuses its verdict. Returns the report as jsonb. Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58.';
--! EndIncluded functions/apply_identity_verdicts.sql
