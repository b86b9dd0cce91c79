--! Previous: sha1:afa736b99c5f9167dd1c9fc95d521ebbecc42b2d
--! Hash: sha1:1d970d2f6446524fd5d981fb41b86b584173d808
--! Message: Brake gauges and questions

-- The next migration begins here.

drop function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  boolean, integer, integer, boolean
);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb
);

-- The brake has three gauges.
alter table identity_sync.run
  add column accept text[] not null default '{}' check (accept <@ array['unresolved', 'refused', 'changed']),
  add column braked_by text check (braked_by in ('unresolved', 'refused', 'changed'));
update identity_sync.run set accept = array['unresolved'] where accept_unresolved;
update identity_sync.run set braked_by = 'unresolved' where braked_at is not null;
alter table identity_sync.run
  drop column accept_unresolved,
  add check ((braked_at is null) = (braked_by is null));

comment on column identity_sync.run.accept is 'The gauges of the brake that do not stop this run.';
comment on column identity_sync.run.braked_by is
  'The gauge that stopped the run: unresolved, refused or changed.';

alter table identity_sync.planning_hold
  add column gauge text check (gauge in ('unresolved', 'refused', 'changed')),
  add column share numeric;

comment on column identity_sync.planning_hold.gauge is 'Of the brake: what it measured.';
comment on column identity_sync.planning_hold.share is 'Of the brake: the share of the rows counted, 0 to 1.';

drop index identity_sync.settlement_brake_idx;
alter table identity_sync.settlement rename column brake_sample to unresolved_counted;
alter table identity_sync.settlement
  add column unresolved_seen integer not null default 0,
  add column refused_counted integer not null default 0,
  add column refused_seen integer not null default 0,
  add column changed_counted integer not null default 0,
  add column changed_seen integer not null default 0;
update identity_sync.settlement
set unresolved_seen = cardinality(brake_unresolved_ids), refused_counted = unresolved_counted
where unresolved_counted > 0;
alter table identity_sync.settlement drop column brake_unresolved_ids;

comment on column identity_sync.settlement.unresolved_counted is
  'Rows that held an identity or had never been requested: of them the brake measures unresolved_seen.';
comment on column identity_sync.settlement.refused_counted is
  'Verdicts that were judged: of them the brake measures refused_seen.';
comment on column identity_sync.settlement.changed_counted is
  'Identities confirmed or changed: of them the brake measures changed_seen, which name another artist.';

-- The brake looks for the latest answers that it counts, after every answer; what is counted was judged.
create index settlement_brake_idx on identity_sync.settlement (run_id, settlement_id) where refused_counted > 0;

create table identity_sync.brake_memory (
  settlement_id bigint primary key references identity_sync.settlement on delete cascade,
  unresolved_ids integer[] not null,
  refused_ids integer[] not null,
  changed_ids integer[] not null,
  attempts_before jsonb
);

comment on table identity_sync.brake_memory is
  'What the brake needs to take an answer''s marks back: the rows that each gauge counted, and their attempts as they were.';

alter table identity_sync.quarantined_verdict add column closed_by bigint;

comment on column identity_sync.quarantined_verdict.closed_by is
  'The settlement that closed the entry; where the brake takes that back, the entry is open again.';

create index quarantined_verdict_closed_by_idx
  on identity_sync.quarantined_verdict (closed_by)
  where closed_by is not null;

-- A compilation that LML could not read, though its tracks were linked before.
alter table identity_sync.attempt
  drop constraint attempt_outcome_check,
  add constraint attempt_outcome_check check (
    outcome in (
      'unresolved', 'compilation', 'compilation_unread', 'invalid_verdict', 'writer_error', 'poison_input',
      'manual_precedence', 'released', 'held'
    )
  );
-- A source row whose source or method is not known counts as such.
alter type identity_sync_private.judged_verdict add attribute unknown integer;

-- What is counted stays comparable with what was counted before.
--! Included functions/report/empty_report.sql
-- The one place where the report's keys are written down. Every count is added to this report, so every key is always
-- there.
create or replace function identity_sync_private.empty_report()
returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select '{
    "scanned": 0,
    "rows_resolved": 0,
    "rows_resolved_compilation": 0,
    "rows_unresolved": 0,
    "rows_skipped": {
      "compilation": 0,
      "lml_error": 0,
      "writer_error": 0,
      "lml_cardinality_mismatch": 0,
      "lml_untrusted_library_id": 0,
      "invalid_verdict": 0,
      "manual_precedence": 0,
      "stale_verdict": 0,
      "library_gone": 0,
      "poison_input": 0
    },
    "source_rows_skipped_null_confidence": 0,
    "source_rows_skipped_duplicate": 0,
    "source_rows_out_of_band": 0,
    "source_rows_unknown": 0,
    "identity": {"inserted": 0, "changed": 0, "unchanged": 0},
    "source": {"inserted": 0, "changed": 0, "unchanged": 0, "removed": 0},
    "compilation_track": {
      "written": 0, "unlinked": 0, "unchanged": 0, "librarian": 0,
      "no_cta_match": 0, "no_resolved_name": 0, "unusable": 0,
      "no_catalog_artist": 0, "ambiguous_position": 0, "position_written": 0, "confidence_out_of_range": 0
    }
  }'::jsonb;
$$;

revoke all on function identity_sync_private.empty_report() from public;

comment on function identity_sync_private.empty_report() is
  'Returns the report with every key of the contract at 0.';
--! EndIncluded functions/report/empty_report.sql
update identity_sync.settlement
set report = report || '{"source_rows_unknown": 0}'
where not report ? 'source_rows_unknown';
update identity_sync.run
set report = report || '{"source_rows_unknown": 0}'
where not report ? 'source_rows_unknown';

alter table identity_sync.settlement add column unknown_names text[] not null default '{}';

comment on column identity_sync.settlement.unknown_names is
  'The sources, methods and keys of a result that LML named and this service does not know.';

-- What each library was called when LML last answered for it.
create table identity_sync.asked_as (
  library_id integer primary key,
  fingerprint bigint
);

comment on table identity_sync.asked_as is
  'The question of the last answer for a library: a fingerprint of the artist name and album title it was asked by. A library that is called otherwise now is due.';
comment on column identity_sync.asked_as.fingerprint is
  'NULL: the answer was taken back, and the library is due.';

alter table identity_sync.batch add column asked_as bigint[];

comment on column identity_sync.batch.asked_as is
  'The fingerprints of the last request, in the order of library_ids; NULL for a library that was left out of it.';

drop function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean);
drop function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean);
drop function identity_sync_private.rehearse_identity_verdicts(jsonb, integer[], text, timestamptz, boolean);
drop function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean);

--! Included functions/wire/fingerprint.sql
-- What LML is asked for a library, as one number: an answer is remembered with it, so that a renamed row is seen to be
-- another question. It differs from library to library, so that the sums of many differ where two have swapped names.
create or replace function identity_sync_private.fingerprint(library_id integer, artist_name text, album_title text)
returns bigint
language sql immutable parallel safe
return hashtextextended(artist_name, hashtextextended(album_title, library_id));

revoke all on function identity_sync_private.fingerprint(integer, text, text) from public;

comment on function identity_sync_private.fingerprint(integer, text, text) is
  'Takes a library id, its artist''s name and its album''s title; returns their fingerprint, NULL where one is NULL.';
--! EndIncluded functions/wire/fingerprint.sql
--! Included functions/wire/current_fingerprints.sql
-- The questions that LML would be asked now, in the order of the ids. Stable, so that a request made in the same
-- statement asks exactly these.
create or replace function identity_sync_private.current_fingerprints(library_ids integer[])
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select array_agg(
    case
      when identity_sync_private.has_name(library.artist_name)
      then identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    end
    order by listed.place
  )
  from unnest(library_ids) with ordinality as listed (id, place)
  left join wxyc_schema.library on library.id = listed.id;
$$;

revoke all on function identity_sync_private.current_fingerprints(integer[]) from public;

comment on function identity_sync_private.current_fingerprints(integer[]) is
  'Takes library ids; returns the fingerprint of each in their order, NULL where a library is gone or has no artist name.';
--! EndIncluded functions/wire/current_fingerprints.sql
--! Included functions/wire/is_elastic.sql
-- LML adds sources and methods without asking, and both columns are texts: one that this service does not know is
-- written as it came, as long as a person can read it. Strict bands admit only what is known.
create or replace function identity_sync_private.is_elastic(word text, strict_bands boolean)
returns boolean
language sql immutable parallel safe
return not strict_bands
  and char_length(word) between 1 and 64
  and identity_sync_private.has_name(word)
  and word !~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u00ad\\u061c]'
  and word !~ E'[\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff0-\\uffff]';

revoke all on function identity_sync_private.is_elastic(text, boolean) from public;

comment on function identity_sync_private.is_elastic(text, boolean) is
  'Takes the name of an unknown source or method, and whether bands are strict; returns whether it may be written: 1 to 64 characters, all printable and not all blank; false for NULL, and where bands are strict.';
--! EndIncluded functions/wire/is_elastic.sql
--! Included functions/wire/may_be_method.sql
-- Whether a verdict may name a method: one that the wire contract knows, or one that LML has added since.
create or replace function identity_sync_private.may_be_method(method text, strict_bands boolean)
returns boolean
language sql immutable parallel safe
return identity_sync_private.is_method(method) or identity_sync_private.is_elastic(method, strict_bands);

revoke all on function identity_sync_private.may_be_method(text, boolean) from public;

comment on function identity_sync_private.may_be_method(text, boolean) is
  'Takes a method or NULL, and whether bands are strict; returns whether a verdict may name it, NULL for NULL.';
--! EndIncluded functions/wire/may_be_method.sql
--! Included functions/report/identity_run_warnings.sql
-- What an operator should know of a run that failed in nothing: ids named that cannot be asked, what LML named and this
-- service does not know, and batches of which most track entries, and at least ten, match no credit. Then credits were
-- renamed or LML holds an older copy, and links go missing silently.
create or replace function identity_sync_private.identity_run_warnings(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with drifted as (
    select
      format(
        'batches whose track entries mostly match no credit of compilation_track_artist: %s (%s of %s entries); '
          'artist_name and track_title have drifted apart',
        count(*), sum(counted.unmatched), sum(counted.entries)
      ) as words
    from (
      select
        (settlement.report #>> '{compilation_track,no_cta_match}')::bigint as unmatched,
        (
          select sum(tally.value::bigint)
          from jsonb_each_text(settlement.report -> 'compilation_track') as tally
          where tally.key in (
            'written', 'unlinked', 'unchanged', 'librarian', 'no_cta_match', 'no_resolved_name', 'unusable'
          )
        ) as entries
      from identity_sync.run
      join identity_sync.settlement on settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
      where run.run_id = identity_run_warnings.run_id
    ) as counted
    where counted.unmatched >= 10 and counted.unmatched * 2 > counted.entries
    having count(*) > 0
  ),
  unaskable as (
    select
      format(
        'ids named that are not in library, or have no artist name there: %s%s',
        array_to_string(run.unaskable_ids[:100], ','),
        case when cardinality(run.unaskable_ids) > 100 then ', …' end
      ) as words
    from identity_sync.run
    where run.run_id = identity_run_warnings.run_id and run.unaskable_ids <> '{}'
  ),
  unknown as (
    select
      format(
        'LML named what this service does not know, sources and methods are written as they came: %s',
        string_agg(distinct named.name, ', ')
      ) as words
    from identity_sync.run
    join identity_sync.settlement on settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
    cross join lateral unnest(settlement.unknown_names) as named (name)
    where run.run_id = identity_run_warnings.run_id
    having count(*) > 0
  )
  select coalesce(jsonb_agg(warning.words), '[]')
  from (
    select words from unaskable
    union all
    select words from unknown
    union all
    select words from drifted
  ) as warning;
$$;

revoke all on function identity_sync_private.identity_run_warnings(bigint) from public;

comment on function identity_sync_private.identity_run_warnings(bigint) is
  'Takes a run; returns its warnings as a JSON array of texts, empty where there are none.';
--! EndIncluded functions/report/identity_run_warnings.sql
--! Included functions/judge/bare_verdict.sql
-- A verdict of which only the outcome is known: its content is not trusted, or none came.
create or replace function identity_sync_private.bare_verdict(ordinal integer, library_id integer, outcome text)
returns identity_sync_private.judged_verdict
language sql immutable parallel safe
return row(
  ordinal, library_id, outcome, null, null, null, null, null, null, null, null, null, 0, 0, 0, null, null, null, 0
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.bare_verdict(integer, integer, text) from public;

comment on function identity_sync_private.bare_verdict(integer, integer, text) is
  'Takes the number of a result (NULL: none came), a library id and an outcome; returns a judged verdict without content.';
--! EndIncluded functions/judge/bare_verdict.sql
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

  select format('provenance[%s]%s', leg.position - 1, checked.path) as path, checked.value, checked.allowed
  into fault
  from (
    select
      listed.*,
      identity_sync_private.source_bit(identity_sync_private.text_of(listed.entry -> 'source')) is not null
        or identity_sync_private.is_elastic(identity_sync_private.text_of(listed.entry -> 'source'), strict_bands)
        as is_source,
      identity_sync_private.text_of(listed.entry -> 'method') as method,
      identity_sync_private.may_be_method(identity_sync_private.text_of(listed.entry -> 'method'), strict_bands)
        as is_method,
      identity_sync_private.read_confidence(listed.entry -> 'confidence') as confidence,
      coalesce(listed.entry -> 'confidence', 'null') = 'null' as has_no_confidence,
      coalesce(listed.entry -> 'external_id', 'null') = 'null' as has_no_external_id,
      strict_bands and kind = 'single_artist'
        and not identity_sync_private.is_in_band(
          identity_sync_private.text_of(listed.entry -> 'method'),
          identity_sync_private.read_confidence(listed.entry -> 'confidence')
        ) as is_refused_by_band
    from jsonb_array_elements(verdict -> 'provenance') with ordinality as listed (entry, position)
  ) as leg
  cross join lateral (
    values
      (1, '', leg.entry, 'an object', jsonb_typeof(leg.entry) = 'object'),
      (2, '.source', leg.entry -> 'source', source_list, leg.is_source),
      (3, '.method', leg.entry -> 'method', method_list, coalesce(leg.is_method, leg.has_no_confidence)),
      (
        4, '.confidence', leg.entry -> 'confidence', 'a number from 0 to 1, or null where external_id is null',
        leg.confidence is not null or (leg.has_no_confidence and leg.has_no_external_id)
      ),
      (
        5, '.external_id', leg.entry -> 'external_id',
        'a string of 1 to 512 characters, not blank, or null where confidence is null',
        case
          when leg.has_no_external_id then leg.has_no_confidence
          else identity_sync_private.is_identifier_or_null(identity_sync_private.text_of(leg.entry -> 'external_id'))
        end
      ),
      (
        6, '.confidence', leg.entry -> 'confidence',
        case
          when leg.is_refused_by_band
          then identity_sync_private.describe_band(leg.method)
            || format(' for method %s (strict bands)', leg.method)
        end,
        leg.is_refused_by_band is not true
      )
  ) as checked (rank, path, value, allowed, is_valid)
  where not checked.is_valid
  -- A band is looked at last: a breach of the contract comes first, in whichever entry it stands.
  order by checked.rank = 6, leg.position, checked.rank
  limit 1;

  return case when found then identity_sync_private.describe_refusal(fault.path, fault.value, fault.allowed) end;
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
      coalesce(requested is null or requested[field.ordinal] = field.id, false) or field.id = any (requested)
        as is_requested,
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
          identity_sync_private.is_in_band(read.method, read.confidence) as in_band
        from (
          select
            raw.source,
            raw.method,
            identity_sync_private.source_bit(raw.source) as source_bit,
            identity_sync_private.text_of(raw.external_id) as external_id,
            coalesce(jsonb_typeof(raw.confidence), 'null') = 'null' as has_no_confidence,
            identity_sync_private.read_confidence(raw.confidence) as confidence
          from (
            select
              identity_sync_private.text_of(listed.entry -> 'source') as source,
              identity_sync_private.text_of(listed.entry -> 'method') as method,
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
--! Included functions/judge/unknown_names.sql
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
  }';
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
--! EndIncluded functions/judge/unknown_names.sql
--! Included functions/candidates/due_libraries.sql
-- Finds the libraries that are due and why: never asked, released, in vain long enough ago, with a stale identity, or
-- asked by another name than they have now, which may come on top. A time ahead of the clock holds nothing back. Each
-- kind is looked for where it is rare, in a statement of its own, so that PostgreSQL may read in parallel.
create or replace function identity_sync_private.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean
)
returns table (library_id integer, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- A join that spills to disk takes twice as long.
set work_mem = '64MB'
as $$
begin
  return query
  select asked_as.library_id, 'renamed'
  from identity_sync.asked_as
  join wxyc_schema.library on library.id = asked_as.library_id
  where asked_as.fingerprint
    is distinct from identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title);

  return query
  select library.id, 'never_asked'
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)

  union all
  select attempt.library_id, case attempt.outcome when 'released' then 'released' else 'in_vain' end
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where attempt.outcome = 'released'
    or attempt.outcome <> 'held'
    and (
      (
        attempt.attempted_at <= case
          when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_before
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
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id);
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count; returns the libraries that are due and why (never_asked, released, in_vain, stale, or renamed, also of one that is due for another reason).';
--! EndIncluded functions/candidates/due_libraries.sql
--! Included functions/candidates/identity_candidates.sql
-- Lists the rows that a run would ask LML for, with the cohort that decides the size of their batch.
-- A row with a blank artist name is left out, because LML would refuse its whole batch, and one that is not on Discogs
-- unless it is named; a released row is always due. A row that a run has settled is not due again before its time.
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
  stale_before timestamptz;
  retry_before timestamptz;
begin
  perform identity_sync_private.validate_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  return query
  with reached as (
    select distinct due.library_id
    from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as due
    where scope = 'due'
    union all
    select library.id
    from wxyc_schema.library
    left join wxyc_schema.library_identity as identity on identity.library_id = library.id
    where scope = 'refresh'
      and (
        library.canonical_entity_id is not null
        or identity.last_verified_at <= stale_before
        or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      )
    union all
    select attempt.library_id
    from identity_sync.attempt
    where scope = 'recheck' and attempt.outcome not in ('manual_precedence', 'released', 'held')
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
      identity_sync_private.cohort_of(
        library.code_volume_letters,
        exists (select from wxyc_schema.compilation_track_artist as credit where credit.library_id = library.id)
      ) as cohort
    from reached
    join wxyc_schema.library on library.id = reached.library_id
    where library.id % partition_count = partition_index
      and (identity_candidates.ids is null or library.id = any (identity_candidates.ids))
  ) as candidate
  where (scope <> 'recheck' or candidate.cohort = 'va')
    and identity_sync_private.has_name(candidate.artist_name)
    and (scope = 'ids' or candidate.id not in (select identity_sync_private.libraries_not_on_discogs()));
end;
$$;

revoke all on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[])
from public;

comment on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[]) is
  'Takes a scope (due, refresh, recheck, ids), the days after which an identity is stale and an attempt is repeated, whether rows without a canonical entity count, a partition (id % count = index) and ids to narrow it to; returns the rows a run would ask for and their cohort (va: compilation-shaped, non_va). Raises LS001 for a value out of range.';
--! EndIncluded functions/candidates/identity_candidates.sql
--! Included functions/write/build_report.sql
-- Makes the report of a settlement out of its outcomes, so that no counter can say what was not recorded.
-- What was left out of a verdict's sources counts only where the verdict was written.
create or replace function identity_sync_private.build_report(written identity_sync_private.write_result)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  reached record;
  skipped jsonb;
begin
  select
    count(*) as scanned,
    count(*) filter (where verdict.outcome = 'resolved') as resolved,
    count(*) filter (where verdict.outcome = 'resolved_compilation') as resolved_compilation,
    count(*) filter (where verdict.outcome = 'unresolved') as unresolved,
    count(*) filter (where verdict.action = 'inserted') as inserted,
    count(*) filter (where verdict.action = 'changed') as changed,
    count(*) filter (where verdict.action = 'unchanged') as unchanged,
    coalesce(sum(verdict.null_confidence) filter (where verdict.outcome = 'resolved'), 0) as null_confidence,
    coalesce(sum(verdict.duplicate) filter (where verdict.outcome = 'resolved'), 0) as duplicate,
    coalesce(sum(verdict.out_of_band) filter (where verdict.outcome = 'resolved'), 0) as out_of_band,
    coalesce(sum(verdict.unknown) filter (where verdict.outcome = 'resolved'), 0) as unknown
  into reached
  from unnest(written.verdicts) as verdict;

  select jsonb_object_agg(counted.outcome, counted.verdicts)
  into skipped
  from (
    select verdict.outcome, count(*) as verdicts
    from unnest(written.verdicts) as verdict
    where verdict.outcome not in ('resolved', 'resolved_compilation', 'unresolved')
    group by verdict.outcome
  ) as counted;

  return identity_sync_private.empty_report() || jsonb_build_object(
    'scanned', reached.scanned,
    'rows_resolved', reached.resolved,
    'rows_resolved_compilation', reached.resolved_compilation,
    'rows_unresolved', reached.unresolved,
    'rows_skipped', (identity_sync_private.empty_report() -> 'rows_skipped') || coalesce(skipped, '{}'),
    'source_rows_skipped_null_confidence', reached.null_confidence,
    'source_rows_skipped_duplicate', reached.duplicate,
    'source_rows_out_of_band', reached.out_of_band,
    'source_rows_unknown', reached.unknown,
    'identity', jsonb_build_object(
      'inserted', reached.inserted,
      'changed', reached.changed,
      'unchanged', reached.unchanged
    ),
    'source', jsonb_build_object(
      'inserted', written.source_inserted,
      'changed', written.source_changed,
      'unchanged', written.source_unchanged,
      'removed', written.source_removed
    ),
    'compilation_track', written.compilation_track
  );
end;
$$;

revoke all on function identity_sync_private.build_report(identity_sync_private.write_result) from public;

comment on function identity_sync_private.build_report(identity_sync_private.write_result) is
  'Takes what was written, with every judged verdict in it and its final outcome; returns the report.';
--! EndIncluded functions/write/build_report.sql
--! Included functions/write/conclude_verdict.sql
-- The final outcome of a judged verdict, and what becomes of its main row. The one place that lists a verdict's
-- attributes again; PostgreSQL inlines it, so that a whole batch costs no calls.
create or replace function identity_sync_private.conclude_verdict(
  verdict identity_sync_private.judged_verdict,
  outcome text,
  action text default null,
  version tid default null,
  refusal identity_sync_private.writer_refusal default null
)
returns identity_sync_private.judged_verdict
language sql immutable parallel safe
return row(
  verdict.ordinal, verdict.library_id, outcome,
  verdict.discogs_artist_id, verdict.musicbrainz_artist_id, verdict.wikidata_qid, verdict.spotify_id,
  verdict.apple_music_id, verdict.bandcamp_id, verdict.method, verdict.confidence,
  verdict.sources, verdict.null_confidence, verdict.duplicate, verdict.out_of_band,
  action, version, refusal, verdict.unknown
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) from public;

comment on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) is
  'Takes a judged verdict, its final outcome, the action on its main row (inserted, changed, unchanged), the version of that row which was looked at, and why the database refused it; returns the verdict with these.';
--! EndIncluded functions/write/conclude_verdict.sql
--! Included functions/write/mark_renamed.sql
-- An answer for a library that is called otherwise by now is the answer to another question: stale_verdict, whatever it
-- says. A question that is not known overtakes nothing. Sums are compared first, since hardly any row is renamed while
-- its call is under way.
create or replace function identity_sync_private.mark_renamed(
  judged identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  renamed_ids integer[];
begin
  if (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) = (
    select sum(identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title))
    from wxyc_schema.library
    where library.id = any (requested)
  )
  then
    return judged;
  end if;

  renamed_ids := array(
    select library.id
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    join wxyc_schema.library on library.id = question.library_id
    where question.fingerprint
      <> coalesce(identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title), 0)
  );

  return array(
    select
      case
        when verdict.library_id = any (renamed_ids)
          and verdict.outcome in (
            'resolved', 'resolved_compilation', 'unresolved', 'compilation', 'invalid_verdict', 'poison_input'
          )
        then identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
        else verdict
      end
    from unnest(judged) as verdict
  );
end;
$$;

revoke all on function identity_sync_private.mark_renamed(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.mark_renamed(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes judged verdicts, the ids that were requested and the fingerprints they were asked by; returns the verdicts, those on renamed libraries as stale_verdict.';
--! EndIncluded functions/write/mark_renamed.sql
--! Included functions/write/quarantine_verdicts.sql
-- Sets aside what was refused, as it came and with the reason in words, and closes the entries of libraries that have
-- an outcome since. A library has one open entry, its latest refusal; one that LML named without being asked never
-- pushes out a refusal that can be replayed.
create or replace function identity_sync_private.quarantine_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  set_aside jsonb,
  tracks_contract_version jsonb,
  origin text,
  verified_at timestamptz,
  strict_bands boolean,
  settlement_id bigint
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
-- A plan for one known answer would hold a copy of its megabytes for each time that it is named.
set plan_cache_mode = force_generic_plan
as $$
declare
  -- One field after another is looked at for a reason, so that a flood of refusals gets it for the first ones only.
  most_explained constant integer := 5000;
  later constant text := format('a later refusal, settlement %s', settlement_id);
begin
  update identity_sync.quarantined_verdict as entry
  set
    closed_at = clock_timestamp(), closed_by = quarantine_verdicts.settlement_id,
    closed_reason = format('%s by settlement %s', judged.outcome, quarantine_verdicts.settlement_id)
  from unnest(verdicts) as judged
  where judged.outcome in ('resolved', 'resolved_compilation', 'unresolved', 'compilation', 'library_gone')
    and entry.library_id = judged.library_id
    and entry.closed_at is null
    and (
      entry.verified_at <= quarantine_verdicts.verified_at
      or identity_sync_private.is_repair(quarantine_verdicts.origin)
    );

  if not exists (
    select from unnest(verdicts) as judged
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
  )
  then
    return;
  end if;

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = later, closed_by = quarantine_verdicts.settlement_id
  from (
    select judged.library_id, bool_or(judged.outcome <> 'lml_untrusted_library_id') as can_be_replayed
    from unnest(verdicts) as judged
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
    group by judged.library_id
  ) as refused
  where entry.library_id = refused.library_id
    and entry.closed_at is null
    and (refused.can_be_replayed or entry.outcome = 'lml_untrusted_library_id');

  with refused as materialized (
    select
      judged.ordinal,
      judged.library_id,
      judged.outcome,
      judged.refusal,
      outranking.library_id is not null as is_outranked,
      -- What can be replayed is open before what was not asked, and the last of its kind.
      row_number() over (
        partition by judged.library_id
        order by judged.outcome = 'lml_untrusted_library_id', judged.ordinal desc
      ) as place,
      row_number() over (order by judged.outcome = 'lml_untrusted_library_id', judged.ordinal) as number
    from unnest(verdicts) as judged
    left join identity_sync.quarantined_verdict as outranking
      on outranking.library_id = judged.library_id
      and outranking.closed_at is null
      and judged.outcome = 'lml_untrusted_library_id'
    where judged.outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id')
  )
  insert into identity_sync.quarantined_verdict (
    settlement_id, first_settlement_id, library_id, outcome, reason, path, value, sqlstate, message, constraint_name,
    verdict, verdict_text, tracks_contract_version, origin, verified_at, strict_bands, closed_at, closed_reason
  )
  select
    quarantine_verdicts.settlement_id,
    identity_sync_private.replayed_settlement(
      refused.library_id, quarantine_verdicts.origin, quarantine_verdicts.verified_at
    ),
    refused.library_id, refused.outcome,
    coalesce((explained.fault).reason, 'the verdict breaks the wire contract'),
    (explained.fault).path, (explained.fault).value,
    (refused.refusal).sqlstate, (refused.refusal).message, nullif((refused.refusal).constraint_name, ''),
    kept.verdict,
    case
      when listed.aside is not null then listed.aside ->> 'unreadable'
      when kept.verdict is not null then null
      when pg_column_size(listed.verdict) > 1000000
      then format('%s bytes, with numbers too long to be shown', pg_column_size(listed.verdict))
      else identity_sync_private.spell_out(listed.verdict)
    end,
    identity_sync_private.printable(quarantine_verdicts.tracks_contract_version),
    quarantine_verdicts.origin, quarantine_verdicts.verified_at, quarantine_verdicts.strict_bands,
    case when closing.reason is not null then clock_timestamp() end,
    closing.reason
  from refused
  cross join lateral (
    select results -> (refused.ordinal - 1) as verdict, set_aside -> refused.ordinal::text as aside
    offset 0
  ) as listed
  cross join lateral (
    select case when listed.aside is null then identity_sync_private.printable(listed.verdict) end as verdict
    offset 0
  ) as kept
  cross join lateral (
    select
      case
        when refused.outcome = 'invalid_verdict' and listed.aside is not null then row(
          listed.aside ->> 'path',
          null,
          format(
            '%s holds text that PostgreSQL cannot store: %s',
            coalesce(nullif(listed.aside ->> 'path', ''), 'the verdict'), listed.aside ->> 'fault'
          )
        )::identity_sync_private.refusal
        when refused.outcome = 'invalid_verdict' and refused.number <= most_explained
        then identity_sync_private.explain_refusal(listed.verdict, strict_bands)
        when refused.outcome = 'lml_untrusted_library_id' then row(
          'library_id',
          to_jsonb(refused.library_id),
          format('library_id %s was not asked, or is named for the second time', refused.library_id)
        )::identity_sync_private.refusal
        when refused.outcome = 'writer_error' then row(
          null, null, format('the database refused it: %s', (refused.refusal).message)
        )::identity_sync_private.refusal
      end as fault
    offset 0
  ) as explained
  cross join lateral (
    select
      case
        when refused.is_outranked then 'nobody asked for it, and a refusal that can be replayed is open'
        when refused.library_id is not null and refused.place > 1 then later
      end as reason
  ) as closing
  order by refused.outcome <> 'lml_untrusted_library_id', refused.ordinal;
end;
$$;

revoke all on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.quarantine_verdicts(
  identity_sync_private.judged_verdict[], jsonb, jsonb, jsonb, text, timestamptz, boolean, bigint
) is
  'Takes verdicts with their final outcomes, LML''s results, those set aside by their number, the tracks_contract_version they came with, and the settlement''s origin, time, strictness and id; writes and closes quarantine entries.';
--! EndIncluded functions/write/quarantine_verdicts.sql
--! Included functions/write/record_attempts.sql
-- Keeps an attempt for every answer that left no fresh identity, and removes that of every library that got one.
-- An attempt newer than this answer stays, in whichever order the two arrive. A refusal takes no release away, and that
-- of a repair, as a rule a typing mistake, says nothing about the library.
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
-- rows that held an identity or were never asked before, verdicts that were judged, and identities that were there.
-- The memory of what the brake may take back is kept for the service alone.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempts_before jsonb,
  written identity_sync_private.write_result,
  report jsonb
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
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
      verdict.action in ('changed', 'unchanged') as changed,
      former.library_id is not null as is_another
    from unnest(written.verdicts) as verdict
    left join jsonb_to_recordset(attempts_before) as attempted (library_id integer, held_identity boolean)
      on attempted.library_id = verdict.library_id
    left join (
      select known.*
      from wxyc_schema.library_identity_history as known
      where known.history_id = any (written.history_ids)
      offset 0
    ) as former
      on former.library_id = verdict.library_id
      -- An id that comes or goes names no other artist.
      and (
        former.discogs_artist_id <> verdict.discogs_artist_id
        or former.musicbrainz_artist_id <> verdict.musicbrainz_artist_id
        or former.wikidata_qid <> verdict.wikidata_qid
        or former.spotify_id <> verdict.spotify_id
        or former.apple_music_id <> verdict.apple_music_id
        or former.bandcamp_id <> verdict.bandcamp_id
      )
    -- The fence: without it each count judges the outcome again.
    offset 0
  ) as counted;

  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids,
    unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen
  )
  overriding system value
  values (
    record_settlement.settlement_id, record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report,
    coalesce(settled.inserted_ids, '{}'), written.history_ids,
    written.linked_credit_ids, written.positioned_credit_ids,
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
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, and the report; records them.';
--! EndIncluded functions/write/record_settlement.sql
--! Included functions/write/remember_questions.sql
-- Remembers what libraries were asked by, for those whose answer counts. Nothing is written where the question is the
-- one that was asked before, which is nearly always so and which their sums tell.
create or replace function identity_sync_private.remember_questions(
  verdicts identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  known record;
  unanswered_ids integer[];
begin
  select count(*) as questions, sum(asked.fingerprint) as fingerprints
  into known
  from identity_sync.asked_as as asked
  where asked.library_id = any (requested);
  if known.fingerprints = (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) then
    return;
  end if;

  unanswered_ids := array(
    select verdict.library_id
    from unnest(verdicts) as verdict
    where verdict.outcome in ('stale_verdict', 'lml_cardinality_mismatch', 'lml_error', 'library_gone')
  );
  if known.questions = 0 then
    insert into identity_sync.asked_as (library_id, fingerprint)
    select question.library_id, question.fingerprint
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    where question.fingerprint is not null and question.library_id <> all (unanswered_ids)
    on conflict (library_id) do nothing;
    return;
  end if;

  insert into identity_sync.asked_as (library_id, fingerprint)
  select distinct on (question.library_id) question.library_id, question.fingerprint
  from unnest(requested, asked_as) as question (library_id, fingerprint)
  left join identity_sync.asked_as as asked on asked.library_id = question.library_id
  where question.fingerprint is distinct from asked.fingerprint
    and question.fingerprint is not null
    and question.library_id <> all (unanswered_ids)
  order by question.library_id
  on conflict (library_id) do update
  set fingerprint = excluded.fingerprint;
end;
$$;

revoke all on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes verdicts with their final outcomes, the ids that were requested and the fingerprints they were asked by (NULL: not known); remembers those that were answered.';
--! EndIncluded functions/write/remember_questions.sql
--! Included functions/write/write_track_links.sql
-- Links the tracks of compilations to the artists who play them: compares, then issues one UPDATE, and none where
-- nothing changes. What a link was is kept in superseded_track_link; a librarian's is never touched, and no column but
-- the four of the link is named.
create or replace function identity_sync_private.write_track_links(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Credits are taken in id order, one by one through their key, however many rows the planner expects of an array.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  -- What a person says of a track holds, as a librarian's link does.
  link_method constant text := case when is_repair then 'librarian' else 'lml_backfill' end;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
  current identity_sync_private.judged_verdict[];
  compared identity_sync_private.compared_tracks;
  changed integer;
  touched integer;
begin
  -- Newer than this answer is an identity that is there, or the last answer that called the row a compilation.
  select
    array_agg(verdict) filter (where not listed.is_overtaken),
    array_agg(identity_sync_private.conclude_verdict(verdict, 'stale_verdict')) filter (where listed.is_overtaken)
  into current, written.verdicts
  from unnest(verdicts) as verdict
  left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
  left join identity_sync.attempt
    on attempt.library_id = verdict.library_id and attempt.outcome in ('compilation', 'compilation_unread')
  cross join lateral (
    select
      not is_repair
      and exists (
        select from unnest(array[known.last_verified_at, attempt.attempted_at]) as seen (at)
        where seen.at > write_track_links.verified_at and identity_sync_private.is_plausible_time(seen.at)
      ) as is_overtaken
  ) as listed;

  if current is null then
    return written;
  end if;
  written.verdicts := written.verdicts || current;

  compared := identity_sync_private.compare_track_links(current, results, link_method);
  written.compilation_track := compared.counts;

  if compared.changes is not null then
    changed := cardinality(compared.changes);

    if changed > cardinality(compared.linked) then
      insert into identity_sync.superseded_track_link (
        settlement_id, credit_id, library_id, action,
        track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
      )
      select
        write_track_links.settlement_id, known.id, known.library_id, change.action,
        known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
        format('verdict of %s, settlement %s', origin, write_track_links.settlement_id)
      from unnest(compared.changes) as change
      join wxyc_schema.compilation_track_artist as known on known.id = change.credit_id
      where change.action <> 'linked';
      get diagnostics touched = row_count;
      perform identity_sync_private.assert_row_count(
        'track links kept', changed - cardinality(compared.linked), touched
      );
    end if;

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = change.track_artist_id,
      track_artist_link_confidence = change.confidence,
      track_artist_link_method = case when change.action <> 'unlinked' or is_repair then link_method end,
      track_position = coalesce(known.track_position, change.new_position)
    from unnest(compared.changes) as change
    where known.id = change.credit_id and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('track links written', changed, touched);

    written.linked_credit_ids := compared.linked;
    written.positioned_credit_ids := compared.positioned;

    -- Check deferred constraints now, while bisection can still isolate the offending verdict.
    set constraints all immediate;
  end if;

  return written;
end;
$$;

revoke all on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) is
  'Takes judged compilations whose tracks were visited and whose libraries the caller has locked, LML''s results, and their origin, time and settlement; links their credits and returns them with their final outcomes, and the counts. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_track_links.sql
--! Included functions/write/apply_identity_verdicts.sql
-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run: judges each verdict,
-- writes the good ones, quarantines the bad ones and returns the report. A library is written whole or not at all, and
-- costs no other its verdict. A second call with the same verdicts changes nothing.
create or replace function identity_sync.apply_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
-- Plans outlive the empty tables of a first run, so they must be good for full ones: every access is by primary key.
set enable_seqscan = off
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
    judged_ids := array(select verdict.library_id from unnest(judged) as verdict);
    -- An id that was not asked is held as well: its quarantine entry may be written.
    perform identity_sync_private.lock_identities(judged_ids);
    if asked_as is not null and not is_repair then
      judged := identity_sync_private.mark_renamed(judged, requested, asked_as);
    end if;
    -- Hardly any library was released since it was asked, or is held, and their index is next to empty.
    if not is_repair
      and exists (
        select from identity_sync.attempt
        where attempt.library_id = any (judged_ids)
          and attempt.released_at is not null
          and (attempt.released_at > apply_identity_verdicts.verified_at or attempt.outcome = 'held')
      )
    then
      judged := identity_sync_private.mark_overtaken(judged, verified_at);
    end if;
    select jsonb_agg(to_jsonb(attempt) || jsonb_build_object('held_identity', known.library_id is not null))
    into attempts_before
    from identity_sync.attempt
    left join wxyc_schema.library_identity as known on known.library_id = attempt.library_id
    where attempt.library_id = any (judged_ids);
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
    perform identity_sync_private.remember_questions(
      written.verdicts, requested, coalesce(asked_as, identity_sync_private.current_fingerprints(requested))
    );
  end if;
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempts_before, written, report
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; whether a confidence outside its method''s band, or what is not known, refuses its verdict; and the fingerprints that the ids were asked by, in their order (NULL: by their present names). Returns the report as jsonb. Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58: 55P03 where another session holds one of the libraries for 5 seconds, or, unless a repair, a row of the station for half a second.';
--! EndIncluded functions/write/apply_identity_verdicts.sql
--! Included functions/write/apply_identity_response.sql
-- apply_identity_verdicts for the text of an answer as it came off the wire. Results that jsonb cannot hold are
-- quarantined as text and the others applied. Where the text is no answer, every requested id counts as lml_error.
create or replace function identity_sync.apply_identity_response(
  body text,
  requested integer[],
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  answer constant jsonb := identity_sync.read_identity_answer(body, cardinality(requested));
begin
  if answer is null and requested is null then
    raise exception using
      errcode = 'LS003',
      message = identity_sync_private.explain_no_answer(body),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;
  return identity_sync.apply_identity_verdicts(answer, requested, origin, verified_at, strict_bands, asked_as);
end;
$$;

revoke all on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes the text of LML''s answer and what apply_identity_verdicts takes besides; returns its report. Raises LS003 where the text is no answer and no id was requested.';
--! EndIncluded functions/write/apply_identity_response.sql
--! Included functions/write/apply_poison_input.sql
-- Settles an input that LML refuses, or fails on while it answers others: the library gets a mark, and the input goes
-- to quarantine with LML's status and words. One whose library is gone, renamed or knows better leaves neither.
-- Settling it a second time changes nothing.
create or replace function identity_sync_private.apply_poison_input(
  batch_id bigint,
  library_id integer,
  reason text,
  body text,
  verified_at timestamptz,
  strict_bands boolean
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_as constant bigint[] := (
    select batch.asked_as from identity_sync.batch where batch.batch_id = apply_poison_input.batch_id
  );
  counted_as text;
  recorded bigint;
  counted jsonb;
begin
  perform identity_sync_private.lock_identities(array[library_id]);

  counted_as := case
    when not exists (select from wxyc_schema.library where library.id = apply_poison_input.library_id)
    then 'library_gone'
    else (
      identity_sync_private.mark_overtaken(
        identity_sync_private.mark_renamed(
          array[identity_sync_private.bare_verdict(null, library_id, 'poison_input')], array[library_id], asked_as
        ),
        verified_at
      )
    )[1].outcome
  end;
  counted := jsonb_set(
    jsonb_set(identity_sync_private.empty_report(), '{scanned}', '1'), array['rows_skipped', counted_as], '1'
  );

  insert into identity_sync.settlement (
    run_id, batch_id, is_answer, origin, verified_at, requested, unrequested, report
  )
  select
    batch.run_id, batch.batch_id, false, identity_sync_private.service_origin(), apply_poison_input.verified_at, 1, 0,
    counted
  from identity_sync.batch
  where batch.batch_id = apply_poison_input.batch_id
  returning settlement_id
  into strict recorded;

  if counted_as <> 'poison_input'
    or exists (
      select from identity_sync.quarantined_verdict as entry
      where entry.library_id = apply_poison_input.library_id
        and entry.closed_at is null
        and entry.outcome <> 'lml_untrusted_library_id'
        and entry.verified_at >= apply_poison_input.verified_at
    )
  then
    return counted;
  end if;

  perform identity_sync_private.replace_attempt(library_id, 'poison_input', verified_at, recorded)
  where not exists (
    select from identity_sync.attempt
    where attempt.library_id = apply_poison_input.library_id
      and attempt.attempted_at > apply_poison_input.verified_at
      and identity_sync_private.is_plausible_time(attempt.attempted_at)
  );

  perform identity_sync_private.remember_questions('{}', array[library_id], asked_as);

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = format('a later refusal, settlement %s', recorded)
  where entry.library_id = apply_poison_input.library_id and entry.closed_at is null;

  insert into identity_sync.quarantined_verdict (
    settlement_id, library_id, outcome, reason, verdict_text, origin, verified_at, strict_bands
  )
  values (
    recorded, apply_poison_input.library_id, 'poison_input', apply_poison_input.reason, left(body, 10000),
    identity_sync_private.service_origin(), apply_poison_input.verified_at, apply_poison_input.strict_bands
  );
  return counted;
end;
$$;

revoke all on function identity_sync_private.apply_poison_input(bigint, integer, text, text, timestamptz, boolean)
from public;

comment on function identity_sync_private.apply_poison_input(bigint, integer, text, text, timestamptz, boolean) is
  'Takes the batch that held the input, its library, LML''s status in words, its body, of which 10,000 characters are kept, and the time and strictness of the call; settles it and returns the report. Raises 55P03 where another session holds the library for 5 seconds.';
--! EndIncluded functions/write/apply_poison_input.sql
--! Included functions/write/rehearse_identity_verdicts.sql
-- Applies verdicts for real inside a subtransaction and rolls it back, so a dry run meets the refusals of the database
-- too, deferred constraints included. Only the report remains; sequences have moved and dead rows stay until vacuum.
create or replace function identity_sync_private.rehearse_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  report := identity_sync.apply_identity_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as
  );
  -- A code of its own: PL/pgSQL takes one that ends in 000 for its whole class, and would swallow the writer's errors.
  raise exception using errcode = 'LS007', message = 'the dry run is over, its report is returned';
exception
  when sqlstate 'LS007' then
    return report;
end;
$$;

revoke all on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) from public;

comment on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) is
  'Takes the arguments of apply_identity_verdicts; returns the report that it would return. Raises what it raises.';
--! EndIncluded functions/write/rehearse_identity_verdicts.sql
--! Included functions/run/close_identity_run.sql
-- Ends a run when its last batch is closed, and records the outcome: failed where a batch failed, more rows were
-- refused than not, or none of its rows could be asked; stopped where it was told to stop; else completed. A used-up
-- call budget is no failure. Sessions that close the last two batches at once wait for each other at the run's row, so
-- one of them sees nothing left.
create or replace function identity_sync_private.close_identity_run(run_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  failed_batches integer;
  failure text;
  final_report jsonb;
  ended identity_sync.run;
  is_success boolean;
  obstacle text;
begin
  -- "no key": a session that has cut a batch of this run holds the run's key, and may be closing it, too.
  perform from identity_sync.run
  where run.run_id = close_identity_run.run_id and run.finished_at is null
  for no key update;
  if not found
    or exists (
      select from identity_sync.batch where batch.run_id = close_identity_run.run_id and batch.closed_at is null
    )
  then
    return;
  end if;

  select count(*), min(batch.failure)
  into failed_batches, failure
  from identity_sync.batch
  where batch.run_id = close_identity_run.run_id and batch.state = 'failed';

  final_report := identity_sync.identity_run_report(run_id);
  is_success := identity_sync.report_is_success(final_report);

  -- Nothing to ask, and not because nothing is due.
  select
    case
      when run.in_other_runs <> '{}'
      then format(
        'all %s of its rows are held by another open run: %s',
        cardinality(run.in_other_runs), array_to_string(run.held_by_runs, ', ')
      )
      when run.unaskable_ids <> '{}'
      then 'none of the ids named is in library with an artist name'
    end
  into obstacle
  from identity_sync.run
  where run.run_id = close_identity_run.run_id and run.planned = 0;

  update identity_sync.run
  set
    finished_at = clock_timestamp(),
    outcome = case
      when failed_batches > 0
        or not is_success
        or obstacle is not null
        or run.stop_cause in ('key', 'brake', 'breaker')
      then 'failed'
      when run.stop_cause in ('hand', 'deadline') then 'stopped'
      else 'completed'
    end,
    outcome_reason = coalesce(
      run.stop_reason,
      obstacle,
      case
        when failed_batches > 0 then format('%s of its batches failed: %s', failed_batches, failure)
        when not is_success
        then format(
          '%s rows were refused, %s settled',
          identity_sync_private.refused_rows(final_report),
          (final_report ->> 'scanned')::integer - identity_sync_private.refused_rows(final_report)
        )
      end
    )
  where run.run_id = close_identity_run.run_id
  returning *
  into ended;

  -- The run keeps its report: its batches are pruned one day.
  final_report := identity_sync.identity_run_report(run_id);
  update identity_sync.run
  set report = final_report
  where run.run_id = close_identity_run.run_id;

  -- A rehearsal proves nothing, and the cron does not prove itself.
  if ended.outcome = 'completed'
    and ended.scope = 'due'
    and not ended.dry_run
    and not ended.scheduled
    and ended.braked_at is null
  then
    delete from identity_sync.planning_hold
    where planning_hold.name = 'brake' and planning_hold.since < ended.started_at;
  end if;
end;
$$;

revoke all on function identity_sync_private.close_identity_run(bigint) from public;

comment on function identity_sync_private.close_identity_run(bigint) is
  'Takes a run; where every batch of it is closed, sets finished_at, outcome and report; else changes nothing.';
--! EndIncluded functions/run/close_identity_run.sql
--! Included functions/run/take_back_marks.sql
-- Makes the marks and the quarantine of the rows that a gauge counted what they were before these answers. A mark or an
-- entry that anybody has changed since stays as it is.
create or replace function identity_sync_private.take_back_marks(settlement_ids bigint[], gauge text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  memory record;
begin
  for memory in
    select
      kept.settlement_id,
      kept.attempts_before,
      case gauge
        when 'unresolved' then kept.unresolved_ids
        when 'refused' then kept.refused_ids
        else kept.changed_ids
      end as library_ids
    from identity_sync.brake_memory as kept
    where kept.settlement_id = any (settlement_ids)
    order by kept.settlement_id
  loop
    -- No answer that counts was given to the question of what is marked no more.
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    update identity_sync.asked_as
    set fingerprint = null
    from lifted
    where asked_as.library_id = lifted.library_id;

    insert into identity_sync.attempt
    select before.*
    from jsonb_populate_recordset(null::identity_sync.attempt, memory.attempts_before) as before
    where before.library_id = any (memory.library_ids)
    order by before.library_id
    on conflict (library_id) do nothing;

    update identity_sync.quarantined_verdict as entry
    set closed_at = clock_timestamp(), closed_reason = 'taken back by the brake'
    where entry.settlement_id = memory.settlement_id
      and entry.closed_at is null
      and entry.outcome in ('invalid_verdict', 'writer_error')
      and (entry.library_id = any (memory.library_ids) or entry.library_id is null and gauge = 'refused');

    update identity_sync.quarantined_verdict as entry
    set closed_at = null, closed_reason = null, closed_by = null
    where entry.closed_by = memory.settlement_id
      and entry.library_id = any (memory.library_ids)
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
--! Included functions/run/usual_unresolved_share.sql
-- What share is usual tells an overloaded LML from a catalogue that it knows little of. Only real runs over what was
-- due count, and none that the brake stopped.
create or replace function identity_sync_private.usual_unresolved_share(run_id bigint)
returns numeric
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select sum(settlement.unresolved_seen)::numeric / nullif(sum(settlement.unresolved_counted), 0)
  from identity_sync.settlement
  join identity_sync.run on run.run_id = settlement.run_id
  where run.run_id < usual_unresolved_share.run_id
    and run.scope in ('due', 'refresh')
    and not run.dry_run
    and run.braked_by is null;
$$;

revoke all on function identity_sync_private.usual_unresolved_share(bigint) from public;

comment on function identity_sync_private.usual_unresolved_share(bigint) is
  'Takes a run; returns the share of unresolved rows among those counted in the runs before it, NULL where there were none.';
--! EndIncluded functions/run/usual_unresolved_share.sql
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
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = brake_identity_run.run_id;

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
--! Included functions/run/plan_identity_run.sql
-- Opens a run: its batches, and the lanes that carry them, are made in one transaction or not at all. While the same
-- run (scope, partition, ids, dry_run) goes on, not overdue nor stopping, it is joined and keeps its settings; a dry
-- run neither joins nor blocks a real one. A run with nothing to ask is closed at once.
create or replace function identity_sync.plan_identity_run(
  scope text default 'due',
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false,
  partition_index integer default 0,
  partition_count integer default 1,
  ids integer[] default null,
  batch_size integer default 500,
  va_batch_size integer default 100,
  dry_run boolean default false,
  strict_bands boolean default false,
  lanes integer default 2,
  opened_by text default session_user,
  accept text[] default '{}',
  deadline_minutes integer default 60,
  call_budget integer default null,
  scheduled boolean default false
)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  named_ids constant integer[] := (
    select array_agg(distinct named.id order by named.id) from unnest(ids) as named (id) where named.id is not null
  );
  accepted_gauges constant text[] := array(select distinct gauge from unnest(accept) as gauge order by gauge);
  opened bigint;
  batch_count integer;
begin
  perform identity_sync_private.validate_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );
  perform identity_sync_private.check_range('batch_size', batch_size, 1, 1000, 'libraries, the cap of LML');
  perform identity_sync_private.check_range('va_batch_size', va_batch_size, 1, 1000, 'libraries, the cap of LML');
  perform identity_sync_private.check_range('lanes', lanes, 1, 32, 'calls in flight');
  perform identity_sync_private.check_range('deadline_minutes', deadline_minutes, 1, 1440, 'minutes');
  perform identity_sync_private.check_range(
    'call_budget', coalesce(call_budget, 1), 1, null, 'call and more, or NULL for no budget'
  );

  if not accepted_gauges <@ array['unresolved', 'refused', 'changed'] then
    raise exception using
      errcode = 'LS001',
      message = format('accept is %s', array_to_string(accept, ', ')),
      hint = 'Allowed: unresolved, refused, changed.';
  end if;

  if scheduled
    and exists (
      select from identity_sync.planning_hold as hold
      where hold.ends_at is null or hold.ends_at > clock_timestamp()
    )
  then
    return null;
  end if;

  -- One planner at a time, so that no two runs cut the same library into their batches.
  perform pg_advisory_xact_lock(hashtext('identity_sync.plan_identity_run'));

  perform identity_sync_private.end_overdue_runs();

  select run.run_id
  into opened
  from identity_sync.run
  where run.finished_at is null
    and run.stop_cause is null
    and run.scope = plan_identity_run.scope
    and run.partition_index = plan_identity_run.partition_index
    and run.partition_count = plan_identity_run.partition_count
    and run.ids is not distinct from named_ids
    and run.dry_run = plan_identity_run.dry_run;

  if found then
    perform identity_sync_private.tell_of_joined_run(
      opened,
      jsonb_build_object(
        'stale_days', stale_days,
        'unresolved_retry_days', unresolved_retry_days,
        'include_null_canonical', include_null_canonical,
        'batch_size', batch_size,
        'va_batch_size', va_batch_size,
        'strict_bands', strict_bands,
        'accept', accepted_gauges,
        'deadline_minutes', deadline_minutes,
        'call_budget', call_budget
      )
    );
    perform identity_sync.enqueue_lanes(opened, lanes);
    return opened;
  end if;

  insert into identity_sync.run (
    scope, dry_run, stale_days, unresolved_retry_days, include_null_canonical,
    partition_index, partition_count, ids, strict_bands, accept, call_budget, batch_size, va_batch_size,
    deadline_at, scheduled, opened_by, unaskable_ids
  )
  values (
    plan_identity_run.scope, plan_identity_run.dry_run, plan_identity_run.stale_days,
    plan_identity_run.unresolved_retry_days, plan_identity_run.include_null_canonical,
    plan_identity_run.partition_index, plan_identity_run.partition_count, named_ids,
    plan_identity_run.strict_bands, accepted_gauges, plan_identity_run.call_budget,
    plan_identity_run.batch_size, plan_identity_run.va_batch_size,
    clock_timestamp() + make_interval(mins => deadline_minutes), plan_identity_run.scheduled,
    plan_identity_run.opened_by,
    array(
      select named.id
      from unnest(named_ids) as named (id)
      left join wxyc_schema.library on library.id = named.id
      where plan_identity_run.scope = 'ids' and not identity_sync_private.has_name(library.artist_name)
      order by named.id
    )
  )
  returning run_id into opened;

  batch_count := identity_sync_private.cut_batches(
    run_id => opened,
    -- Ids that are all NULL, or none, select nothing; only ids => NULL means no limit.
    ids => coalesce(named_ids, case when ids is not null then '{}'::integer[] end),
    batch_size => batch_size,
    va_batch_size => va_batch_size
  );

  if batch_count = 0 then
    perform identity_sync_private.close_identity_run(opened);
  else
    perform identity_sync.enqueue_lanes(opened, lanes);
  end if;

  return opened;
end;
$$;

revoke all on function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  text[], integer, integer, boolean
) from public;

comment on function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  text[], integer, integer, boolean
) is
  'Takes the parameters of identity_candidates, the libraries a batch of either cohort (1 to 1000), whether all writes are rolled back, whether bands are strict, the calls in flight (1 to 32), who opens the run, the gauges of the brake that do not stop it (unresolved, refused, changed), its deadline in minutes (1 to 1440), its budget of calls (NULL: none), and whether the cron plans it; returns the id of the opened or joined run, or NULL where a planning hold stops the cron. Tells of a joined run in a notice (LS008), a warning where it keeps other settings than those asked for. Raises LS001 for a value out of range.';
--! EndIncluded functions/run/plan_identity_run.sql
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
  results constant jsonb := identity_sync_private.results_of(answer);
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
    insert into identity_sync.settlement (dry_run, origin, verified_at, requested, unrequested, report)
    values (
      true, service, came_at, cardinality(this_batch.library_ids),
      (settled ->> 'scanned')::integer - cardinality(this_batch.library_ids), settled
    );
  else
    settled := identity_sync.apply_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as
    );
  end if;

  update identity_sync.settlement
  set
    run_id = this_batch.run_id,
    batch_id = apply_identity_batch.batch_id,
    is_answer = body is not null,
    unknown_names = identity_sync_private.unknown_names(results, settled ->> 'source_rows_unknown' <> '0')
  where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');

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
--! Included functions/batch/compose_batch_request.sql
-- Makes the request of a batch and keeps with the batch what it asks: a fingerprint of each row's name and title. Both
-- are read in one statement, so that a row renamed meanwhile is renamed for both or for neither.
create or replace function identity_sync_private.compose_batch_request(batch_id bigint)
returns text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set asked_as = identity_sync_private.current_fingerprints(batch.library_ids)
  where batch.batch_id = compose_batch_request.batch_id
  returning identity_sync.identity_batch_request(batch.batch_id);
$$;

revoke all on function identity_sync_private.compose_batch_request(bigint) from public;

comment on function identity_sync_private.compose_batch_request(bigint) is
  'Takes a batch; returns the JSON text to POST to LML for it, NULL where no row is left to request.';
--! EndIncluded functions/batch/compose_batch_request.sql
--! Included functions/batch/claim_identity_batch.sql
-- Gives a lane the next batch of its run, with a lease. Claims wait for one another, so the limit on calls in flight
-- holds over all processes and runs, and workers share the calls evenly; and so a claim waits for nothing else: what
-- another session holds is passed over. While the lane's last answer is being written, "answered" gives up its place in
-- flight.
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
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

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
    is_run_held := not identity_sync_private.stop_unheld_run(
      run_id, 'its deadline has passed, what is left is due next time', 'deadline'
    );
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

  select count(*)
  into in_flight
  from identity_sync.batch
  where batch.closed_at is null and batch.state = 'in_flight';

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

    if this_run.call_budget <= (
      select count(*)
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = claim_identity_batch.run_id
    )
    then
      is_run_held := not identity_sync_private.stop_unheld_run(
        run_id, 'its budget of calls is used up, what is left is due next time', 'budget'
      );
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
--! Included functions/upkeep/prune_identity_sync.sql
-- Deletes what is of no use any more: batches of runs that ended long ago with their calls and kept answers, quarantine
-- that was closed long ago, marks of libraries that are gone, and workers that are gone. What undoing needs stays for
-- ever: history, superseded rows and settlements. A run keeps its report.
create or replace function identity_sync.prune_identity_sync(keep_days integer)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  keep_after timestamptz;
begin
  perform identity_sync_private.check_range('keep_days', keep_days, 1, 1000000, 'days');
  keep_after := clock_timestamp() - make_interval(days => keep_days);

  with pruned as (
    update identity_sync.run
    set batches_pruned_at = clock_timestamp()
    where run.finished_at < keep_after and run.batches_pruned_at is null
    returning run.run_id
  )
  delete from identity_sync.batch
  using pruned
  where batch.run_id = pruned.run_id;

  -- What nobody can replay or answer any more.
  update identity_sync.quarantined_verdict
  set closed_at = clock_timestamp(), closed_reason = 'the library is gone'
  where quarantined_verdict.closed_at is null
    and quarantined_verdict.library_id is not null
    and not exists (select from wxyc_schema.library where library.id = quarantined_verdict.library_id);

  delete from identity_sync.attempt
  where not exists (select from wxyc_schema.library where library.id = attempt.library_id);

  delete from identity_sync.brake_memory
  using identity_sync.settlement
  where settlement.settlement_id = brake_memory.settlement_id and settlement.settled_at < keep_after;

  delete from identity_sync.quarantined_verdict
  where quarantined_verdict.closed_at < keep_after;

  delete from identity_sync.asked_as
  where not exists (select from wxyc_schema.library where library.id = asked_as.library_id);

  delete from identity_sync.worker
  where worker.asked_at < keep_after;
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older, lifts the marks of libraries that are gone and closes their quarantine. Raises LS001 for a value out of range.';
--! EndIncluded functions/upkeep/prune_identity_sync.sql
--! Included functions/repair/apply_identity_preview.sql
-- Writes what a dry run previewed, the answers that it kept and the inputs that LML refused, without a second call to
-- LML. Each keeps its age, so a verdict that a newer one has overtaken since is a stale_verdict. A second time it
-- changes nothing.
create or replace function identity_sync.apply_identity_preview(run_id bigint)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  previewed record;
  report jsonb := identity_sync_private.empty_report();
begin
  select run.dry_run, run.finished_at, run.batches_pruned_at, run.planned
  into previewed
  from identity_sync.run
  where run.run_id = apply_identity_preview.run_id
  -- Pruning waits, so that the answers stay until they are applied.
  for share;

  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if not previewed.dry_run then
    raise exception using
      errcode = 'LS004',
      message = format('run %s was no dry run', run_id),
      hint = 'What it answered is written already. Name a run made with --dry-run.';
  end if;
  if previewed.finished_at is null then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s is not over', run_id),
      hint = 'Wait for it, or look at identity_sync.run_progress.';
  end if;
  if previewed.batches_pruned_at is not null then
    raise exception using
      errcode = 'LS004',
      message = format('the answers of dry run %s are gone', run_id),
      hint = 'Answers are kept for KEEP_DAYS. Make a new dry run.';
  end if;

  if previewed.planned > 0 and not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
  )
  then
    raise exception using
      errcode = 'LS004',
      message = format('dry run %s got no answer', run_id),
      hint = 'There is nothing to apply. Make a new dry run.';
  end if;

  -- All of it at once: batch after batch, two such sessions could wait for each other.
  perform identity_sync_private.lock_identities(
    array(
      select unnest(batch.library_ids)
      from identity_sync.batch
      where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
    )
  );

  for previewed in
    select
      batch.batch_id,
      batch.library_ids,
      batch.asked_as,
      batch.failure as poison,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty', 'poisoned')
    order by batch.batch_id
  loop
    if previewed.poison is not null then
      report := identity_sync_private.add_reports(
        report,
        identity_sync_private.apply_poison_input(
          previewed.batch_id, previewed.library_ids[1], previewed.poison, null, previewed.answered_at,
          previewed.strict_bands
        )
      );
      continue;
    end if;

    report := identity_sync_private.add_reports(
      report,
      identity_sync.apply_identity_response(
        body => previewed.answer,
        requested => previewed.library_ids,
        origin => identity_sync_private.service_origin(),
        verified_at => previewed.answered_at,
        strict_bands => previewed.strict_bands,
        asked_as => previewed.asked_as
      )
    );
    update identity_sync.settlement
    set run_id = apply_identity_preview.run_id, batch_id = previewed.batch_id
    where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');
  end loop;

  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_preview(bigint) from public;

comment on function identity_sync.apply_identity_preview(bigint) is
  'Takes a dry run that has finished; applies its kept answers, quarantines its poison inputs and returns the report. Raises LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
--! EndIncluded functions/repair/apply_identity_preview.sql
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
      array_agg(entry.library_id) filter (where entry.library_id is not null) as requested,
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
      identity_sync.apply_identity_verdicts(
        response => case
          when answer.verdict_text is null then answer.verdicts
          else identity_sync.read_identity_answer(answer.verdict_text)
        end,
        requested => answer.requested,
        origin => answer.origin,
        verified_at => answer.verified_at,
        strict_bands => answer.strict_bands,
        -- A refusal is the last answer that its library has got.
        asked_as => array(
          select known.fingerprint
          from unnest(answer.requested) with ordinality as named (library_id, place)
          left join identity_sync.asked_as as known on known.library_id = named.library_id
          order by named.place
        )
      )
    );
    replayed := replayed + cardinality(answer.quarantine_ids);
  end loop;

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
