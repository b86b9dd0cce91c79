--! Previous: sha1:e02070cadf805730068e9b869f9f44f3fb3abb18
--! Hash: sha1:afa736b99c5f9167dd1c9fc95d521ebbecc42b2d
--! Message: Holds and pauses

-- The next migration begins here.
drop function identity_sync.lift_planning_hold(text);

alter table identity_sync.planning_hold
  drop constraint planning_hold_name_check,
  add check (name in ('paused', 'key_refused', 'brake')),
  add column ends_at timestamptz;

comment on column identity_sync.planning_hold.ends_at is
  'When it ends by itself; NULL where a person lifts it.';

alter table identity_sync.attempt
  drop constraint attempt_outcome_check,
  add constraint attempt_outcome_check check (
    outcome in (
      'unresolved', 'compilation', 'invalid_verdict', 'writer_error', 'poison_input', 'manual_precedence', 'released',
      'held'
    )
  );

comment on column identity_sync.attempt.outcome is
  'The outcome of the last answer; released and held are an operator''s marks: the row is due, or is not asked, whatever else holds.';

drop function identity_sync.replay_quarantined_verdicts(bigint);
drop function identity_sync.identity_run_progress(bigint);

--! Included functions/wire/excerpt.sql
-- The beginning of a text from elsewhere, for a log, a terminal or quarantine: on one line, without the characters that
-- move a cursor or turn the direction of writing.
create or replace function identity_sync_private.excerpt(body text, length integer)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select nullif(
    left(
      btrim(
        regexp_replace(
          -- What is taken out must not use up the length.
          left(body, 4 * excerpt.length),
          E'[\\u0001-\\u0020\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]+', ' ', 'g'
        )
      ),
      excerpt.length
    ),
    ''
  );
$$;

revoke all on function identity_sync_private.excerpt(text, integer) from public;

comment on function identity_sync_private.excerpt(text, integer) is
  'Takes a text and a length; returns its beginning in at most so many printable characters on one line, NULL where there is none.';
--! EndIncluded functions/wire/excerpt.sql
--! Included functions/wire/explain_no_answer.sql
-- Why a text is no answer of LML, for the person who has written it: where it ceases to be JSON, or what it is instead.
create or replace function identity_sync_private.explain_no_answer(body text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  read json;
  at_line integer;
  said text;
  place text;
  -- PostgreSQL quotes the line up to the word at fault, with three dots where it has left something out.
  quoted text;
begin
  if identity_sync_private.excerpt(body, 1) is null then
    return 'the text is empty';
  end if;
  body := ltrim(body, E'\ufeff');
  read := body::json;
  return format('the text is JSON, but no answer of LML: %s', identity_sync_private.excerpt(read::text, 100));
exception
  when invalid_text_representation or untranslatable_character or statement_too_complex then
    get stacked diagnostics said = pg_exception_detail, place = pg_exception_context;
    place := split_part(place, E'\n', 1);
    at_line := substring(place from '([0-9]+): ')::integer;
    quoted := regexp_replace(substring(place from '[0-9]+: (.*)$'), E'^\\.{3}|\\.{3}$', '', 'g');
    return format(
      'the text is no JSON: line %s, column %s: %s (%s)',
      coalesce(at_line::text, '?'),
      coalesce(
        nullif(strpos(split_part(body, E'\n', at_line), quoted), 0) + greatest(length(quoted), 1) - 1, 1
      ),
      coalesce(identity_sync_private.excerpt(quoted, 100), 'the end of the text'),
      identity_sync_private.excerpt(said, 200)
    );
end;
$$;

revoke all on function identity_sync_private.explain_no_answer(text) from public;

comment on function identity_sync_private.explain_no_answer(text) is
  'Takes a text that is no answer of LML; returns why, with the line and the column where it ceases to be JSON.';
--! EndIncluded functions/wire/explain_no_answer.sql
--! Included functions/wire/is_blank.sql
-- A blank name is NULL, empty or white space only, Unicode's kinds included. LML refuses a whole batch for one of them.
-- The stated cost of 50 makes the planner ask it last.
create or replace function identity_sync.is_blank(name text)
returns boolean
language sql immutable parallel safe cost 50
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(is_blank.name, '')
    !~ E'[^\\s\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
$$;

revoke all on function identity_sync.is_blank(text) from public;

comment on function identity_sync.is_blank(text) is
  'Takes a name or NULL; returns whether it is NULL, empty or white space only.';
--! EndIncluded functions/wire/is_blank.sql
--! Included functions/wire/lml_error_message.sql
-- Reads the message of an error body, for a person who looks at a log or at quarantine.
-- Newer builds of LML send message, older ones detail, and a proxy sends HTML, of which the beginning is kept.
create or replace function identity_sync_private.lml_error_message(body text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  read constant jsonb := identity_sync_private.jsonb_or_null(body);
begin
  return coalesce(
    identity_sync_private.excerpt(
      coalesce(
        case when jsonb_typeof(read) = 'object' then coalesce(
          identity_sync_private.printable(read -> 'message') #>> '{}',
          identity_sync_private.printable(read -> 'detail') #>> '{}'
        ) end,
        body
      ),
      300
    ),
    'no words'
  );
end;
$$;

revoke all on function identity_sync_private.lml_error_message(text) from public;

comment on function identity_sync_private.lml_error_message(text) is
  'Takes the body of an error; returns its message in at most 300 characters.';
--! EndIncluded functions/wire/lml_error_message.sql
--! Included functions/wire/parse_retry_after.sql
-- Reads a Retry-After header: a number of seconds, or a date as HTTP writes it. Two proxies in a row may each send one:
-- of several numbers the largest counts. Anything else is ignored.
create or replace function identity_sync_private.parse_retry_after(retry_after text)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, DMY'
as $$
begin
  return case
    when retry_after ~ '^ *[0-9]+([.][0-9]+)? *(, *[0-9]+([.][0-9]+)? *)*$'
    then (
      -- A century is as good as any longer time, and within the range of an interval.
      select clock_timestamp() + least(max(listed.seconds::numeric), 3e9)::float8 * interval '1 second'
      from regexp_split_to_table(retry_after, ',') as listed (seconds)
    )
    else (
      substring(
        retry_after
        from '^ *[A-Z][a-z]{2}, ([0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}) GMT *(,.*)?$'
      )
    )::timestamp at time zone 'UTC'
  end;
exception
  when datetime_field_overflow or invalid_datetime_format then
    return null;
end;
$$;

revoke all on function identity_sync_private.parse_retry_after(text) from public;

comment on function identity_sync_private.parse_retry_after(text) is
  'Takes a Retry-After header; returns the time it names, NULL where there is none or it is neither seconds nor an HTTP date.';
--! EndIncluded functions/wire/parse_retry_after.sql
--! Included functions/wire/set_aside_result.sql
-- Wraps a result that jsonb refuses, so that it can be judged, refused and kept like its neighbours: the library_id
-- that it names, its text as it came, and the path of the first string at fault. Each level of the path reads the text
-- below it again, so that the path ends where the search has read 20 MB.
create or replace function identity_sync_private.set_aside_result(masked text, mark text, is_path_wanted boolean)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  id text;
  is_marked constant boolean := position(mark || 'n' in masked) > 0;
  node json;
  child record;
  path text;
  patience integer := 20000000;
begin
  begin
    id := case json_typeof(masked::json) when 'object' then masked::json ->> 'library_id' end;
  exception
    when others then
      null;
  end;

  if is_marked and is_path_wanted then
    begin
      node := masked::json;
      path := '';
      loop
        patience := patience - octet_length(node::text);
        exit when json_typeof(node) not in ('object', 'array');
        if patience < 0 then
          path := path || '…';
          exit;
        end if;
        if json_typeof(node) = 'object' then
          select '.' || member.key as step, member.value, position(mark || 'n' in member.key) > 0 as is_found
          into child
          from json_each(node) as member
          where position(mark || 'n' in member.key) > 0 or position(mark || 'n' in member.value::text) > 0
          limit 1;
        else
          select format('[%s]', item.position - 1) as step, item.value, false as is_found
          into child
          from json_array_elements(node) with ordinality as item (value, position)
          where position(mark || 'n' in item.value::text) > 0
          limit 1;
        end if;
        path := path || child.step;
        exit when child.is_found;
        node := child.value;
      end loop;
    exception
      when others then
        path := path || '…';
    end;
  end if;

  return jsonb_build_object(
    'library_id', case when id ~ E'^-?[0-9]{1,10}(\\.0+)?$' then id::numeric end,
    'unreadable', replace(masked, mark || 'n', E'\\u'),
    'path', replace(ltrim(path, '.'), mark || 'n', E'\\u'),
    'fault', case
      when is_marked then E'the escape \\u' || left(split_part(masked, mark || 'n', 2), 4)
      else 'jsonb refuses it'
    end
  );
end;
$$;

revoke all on function identity_sync_private.set_aside_result(text, text, boolean) from public;

comment on function identity_sync_private.set_aside_result(text, text, boolean) is
  'Takes a result''s text with its unreadable escapes masked, the mark, and whether the path at fault is looked for; returns {"library_id", "unreadable", "path", "fault"}.';
--! EndIncluded functions/wire/set_aside_result.sql
--! Included functions/wire/salvage_identity_answer.sql
-- Saves the readable results of an answer that jsonb refuses as a whole, in time linear in its bytes: once the refused
-- escapes are masked, the type json takes the text and gives its elements verbatim. A result that holds a mask, or that
-- jsonb refuses, leaves only its library_id in place; its text goes to set_aside under its number.
create or replace function identity_sync_private.salvage_identity_answer(body text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A character of Unicode that stands for none, and that the text does not hold either, takes few bytes and is found
  -- at once. A text does not contain its own hash.
  mark constant text := coalesce(
    (select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 0 limit 1),
    md5(body)
  );
  -- Where the path at fault is looked for; the others name the fault alone.
  most_paths constant integer := 1000;
  masked text := body;
  surrogates integer;
  document json;
  results json;
begin
  -- Escaped backslashes first, or the text \\u0000 would pass for an escape.
  masked := replace(masked, E'\\\\', mark || 'b');
  masked := replace(masked, E'\\u0000', mark || 'n0000');
  -- Each surrogate is one match of a regular expression, of which half a million take a second.
  surrogates := (2 * octet_length(masked) - octet_length(replace(masked, E'\\ud', ''))
    - octet_length(replace(masked, E'\\uD', ''))) / 3;
  if surrogates > 500000 then
    return null;
  end if;
  if surrogates > 0 then
    -- Whole pairs first: the surrogates that are left are lone ones.
    masked := regexp_replace(
      masked, E'\\\\u([dD][89abAB][0-9a-fA-F]{2})\\\\u([dD][c-fC-F][0-9a-fA-F]{2})',
      mark || E'p\\1' || mark || E'q\\2', 'g'
    );
    masked := regexp_replace(masked, E'\\\\u([dD][89a-fA-F][0-9a-fA-F]{2})', mark || E'n\\1', 'g');
    masked := replace(replace(masked, mark || 'p', E'\\u'), mark || 'q', E'\\u');
  end if;
  masked := replace(masked, mark || 'b', E'\\\\');

  begin
    document := masked::json;
    results := case json_typeof(document)
      when 'array' then document
      when 'object' then coalesce(
        document -> 'results',
        case
          when document ->> 'library_id' is not null or document ->> 'kind' is not null then json_build_array(document)
        end
      )
    end;
    if coalesce(json_typeof(results), 'null') <> 'array' then
      return null;
    end if;
  exception
    when others then
      return null;
  end;

  return (
    select
      jsonb_build_object(
        'results',
        coalesce(
          jsonb_agg(
            coalesce(read.verdict, jsonb_build_object('library_id', read.aside -> 'library_id')) order by read.ordinal
          ),
          '[]'
        ),
        'set_aside',
        coalesce(jsonb_object_agg(read.ordinal::text, read.aside) filter (where read.verdict is null), '{}'),
        'tracks_contract_version',
        case
          when json_typeof(document) = 'object'
          then identity_sync_private.jsonb_or_null((document -> 'tracks_contract_version')::text)
        end
      )
    from (
      select
        tried.ordinal,
        tried.verdict,
        case
          when tried.verdict is null
          then identity_sync_private.set_aside_result(
            tried.masked_result, mark,
            count(*) filter (where tried.verdict is null) over (order by tried.ordinal) <= most_paths
          )
        end as aside
      from (
        select
          listed.ordinal,
          listed.element::text as masked_result,
          case
            when position(mark in listed.element::text) = 0
            then identity_sync_private.jsonb_or_null(listed.element::text)
          end as verdict
        from json_array_elements(results) with ordinality as listed (element, ordinal)
        offset 0
      ) as tried
      offset 0
    ) as read
  );
end;
$$;

revoke all on function identity_sync_private.salvage_identity_answer(text) from public;

comment on function identity_sync_private.salvage_identity_answer(text) is
  'Takes the text of an answer that jsonb refuses; returns an answer whose unreadable results stand as text in set_aside, under their number, NULL where the text is no JSON or no answer.';
--! EndIncluded functions/wire/salvage_identity_answer.sql
--! Included functions/wire/read_identity_answer.sql
-- Reads an answer as it came off the wire, so that one value that jsonb refuses costs one verdict, not 500: its result
-- is set aside as text, under its number (an escaped NUL, a lone surrogate, a number out of bounds). An answer too rich
-- is none, since each value takes 32 bytes and more to parse, and each result that was not asked is quarantined.
create or replace function identity_sync.read_identity_answer(body text, asked integer default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  is_large constant boolean := coalesce(octet_length(body) > 2000000, false);
  -- LML's answer for 1,000 compilations has 11 MB.
  most_bytes constant integer := 24000000;
  most_values constant integer := 4000000;
  most_results constant integer := 150000 + asked;
  is_salvaged boolean := false;
  answer jsonb;
begin
  -- Editors that save a byte order mark do not show it.
  if starts_with(body, E'\ufeff') then
    body := substr(body, 2);
  end if;
  if octet_length(body) > most_bytes and asked is not null then
    return null;
  end if;
  if is_large and octet_length(body) - octet_length(replace(body, ',', '')) > most_values then
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
  if is_large and jsonb_array_length(identity_sync_private.results_of(answer)) > most_results then
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
  'Takes the text of an answer, and how many ids were asked (NULL: any number); returns it as jsonb, with unreadable results as text in set_aside, NULL where it is no answer, has 24 MB where ids were asked, has 4,000,000 commas or 150,000 results more than were asked, or has 16 MB and is refused by jsonb.';
--! EndIncluded functions/wire/read_identity_answer.sql
--! Included functions/report/identity_run_progress.sql
-- How far a run is and what it waits for, cheap enough for a progress bar that polls several times a second. Rows of
-- failed batches are not done: they are due again.
create or replace function identity_sync.identity_run_progress(run_id bigint, carried_by text default null)
returns table (
  planned integer,
  done integer,
  finished_at timestamptz,
  trace_id text,
  failed integer,
  waits_for text,
  waits_until timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    run.planned, batches.done, run.finished_at, run.trace_id, batches.failed,
    case
      when run.finished_at is not null then null
      when run.paused_until > clock_timestamp() and run.pauses > 0 then 'a pause, since batch after batch failed'
      when run.paused_until > clock_timestamp() then 'LML asked for quiet'
      when batches.due_at > clock_timestamp() and batches.in_flight_here = 0 then coalesce(
        'a call of ' || batches.held_by || ' and its lease', 'another try of what failed'
      )
    end,
    case
      when run.finished_at is not null then null
      when run.paused_until > clock_timestamp() then run.paused_until
      when batches.due_at > clock_timestamp() and batches.in_flight_here = 0 then batches.due_at
    end
  from identity_sync.run
  cross join lateral (
    select
      coalesce(
        sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed'), 0
      )::integer,
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.state = 'failed'), 0)::integer,
      count(*) filter (
        where batch.closed_at is null and starts_with(batch.leased_by, coalesce(carried_by || ':', ''))
      ),
      -- Each unfinished batch may be claimed at some time: now, after a pause, or when its lease ends.
      min(coalesce(batch.leased_until, batch.not_before, '-infinity')) filter (where batch.closed_at is null),
      (
        array_agg(
          substring(batch.leased_by from '^(.*):')
          order by coalesce(batch.leased_until, batch.not_before, '-infinity')
        )
          filter (where batch.closed_at is null)
      )[1]
    from identity_sync.batch
    where batch.run_id = run.run_id
  ) as batches (done, failed, in_flight_here, due_at, held_by)
  where run.run_id = identity_run_progress.run_id;
$$;

revoke all on function identity_sync.identity_run_progress(bigint, text) from public;

comment on function identity_sync.identity_run_progress(bigint, text) is
  'Takes a run and the process that carries it ("host:pid"; NULL: any); returns the rows planned, the rows done so far (answered, quarantined or gone), when it ended, its trace, the rows of failed batches, and in words what it waits for and until when (NULL: nothing); no row for an unknown run.';
--! EndIncluded functions/report/identity_run_progress.sql
--! Included functions/candidates/due_libraries.sql
-- Finds the libraries that are due: never asked, with an attempt that has run out, or with a stale identity.
-- A time ahead of the clock holds nothing back. Each kind is looked for where it is rare, so that planning a large
-- catalogue with little due reads two indexes; names are looked at by identity_candidates.
create or replace function identity_sync_private.due_libraries(
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
    or attempt.outcome <> 'held'
    and (
      (
        attempt.attempted_at <= case attempt.outcome when 'manual_precedence' then stale_before else retry_before end
        or not identity_sync_private.is_plausible_time(attempt.attempted_at)
      )
      and case
        when identity.library_id is null then library.canonical_entity_id is not null or include_null_canonical
        else identity.last_verified_at <= stale_before
          or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      end
    )

  union all
  select identity.library_id
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
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count; returns the ids of the libraries that are due.';
--! EndIncluded functions/candidates/due_libraries.sql
--! Included functions/candidates/libraries_not_on_discogs.sql
-- Lists the libraries whose release is not on Discogs, as a person has said: a lookup by name finds a wrong one.
-- The station's column may be there or not, and may come or go without a migration of ours. Where library lacks it, the
-- bare name falls to the column of the same name beside it, each time that the statement is planned.
create or replace function identity_sync_private.libraries_not_on_discogs()
returns setof integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select marked.id
  from (select false as discogs_unavailable) as absent
  cross join lateral (
    select library.id
    from wxyc_schema.library
    where discogs_unavailable
  ) as marked;
end;
$$;

revoke all on function identity_sync_private.libraries_not_on_discogs() from public;

comment on function identity_sync_private.libraries_not_on_discogs() is
  'Returns the ids of the libraries whose discogs_unavailable is true; none where library has no such column.';
--! EndIncluded functions/candidates/libraries_not_on_discogs.sql
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
    select due.library_id
    from identity_sync_private.due_libraries(stale_before, retry_before, include_null_canonical) as due (library_id)
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
--! Included functions/write/mark_overtaken.sql
-- An answer that is older than the identity which is there, or than the library's last release, says nothing about it,
-- whatever it says: stale_verdict. Of a verdict that writes an identity the writer compares the age itself, because a
-- row that another writer changes meanwhile is looked at again there.
create or replace function identity_sync_private.mark_overtaken(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  writing constant text[] := array['resolved', 'resolved_compilation'];
  judged constant text[] := writing || array['unresolved', 'compilation', 'invalid_verdict', 'poison_input'];
  ids integer[];
  other_ids integer[];
  held_ids integer[];
  overtaken_ids integer[];
begin
  if verdicts is null then
    return null;
  end if;

  select
    array_agg(verdict.library_id),
    array_agg(verdict.library_id) filter (where verdict.outcome <> all (writing))
  into ids, other_ids
  from unnest(verdicts) as verdict
  where verdict.outcome = any (judged) and verdict.library_id is not null;

  -- An identity that is held says so itself.
  held_ids := array(
    select attempt.library_id
    from identity_sync.attempt
    where attempt.library_id = any (ids) and attempt.released_at is not null and attempt.outcome = 'held'
  );
  overtaken_ids := array(
    select attempt.library_id
    from identity_sync.attempt
    where attempt.library_id = any (ids)
      and attempt.released_at > mark_overtaken.verified_at
      and identity_sync_private.is_plausible_time(attempt.released_at)
    union
    select known.library_id
    from wxyc_schema.library_identity as known
    where known.library_id = any (other_ids)
      and known.last_verified_at > mark_overtaken.verified_at
      and identity_sync_private.is_plausible_time(known.last_verified_at)
  );
  if cardinality(overtaken_ids) + cardinality(held_ids) = 0 then
    return verdicts;
  end if;

  return array(
    select
      case
        when verdict.outcome <> all (judged) then verdict
        when verdict.library_id = any (held_ids)
        then identity_sync_private.conclude_verdict(verdict, 'manual_precedence')
        when verdict.library_id = any (overtaken_ids)
        then identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
        else verdict
      end
    from unnest(verdicts) as verdict
  );
end;
$$;

revoke all on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) from public;

comment on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) is
  'Takes the service''s judged verdicts and their time; returns them, those that are overtaken as stale_verdict and those held as manual_precedence.';
--! EndIncluded functions/write/mark_overtaken.sql
--! Included functions/write/replayed_settlement.sql
-- What a replay has refused again keeps the run of its first refusal. The entry of which it came was closed in this
-- transaction. Each branch is one lookup in an index, where "or" would look through all that was ever replayed.
create or replace function identity_sync_private.replayed_settlement(
  library_id integer,
  origin text,
  verified_at timestamptz
)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select coalesce(entry.first_settlement_id, entry.settlement_id)
    from (
      select named.*
      from identity_sync.quarantined_verdict as named
      where named.library_id = replayed_settlement.library_id and named.closed_reason = 'replayed'
      union all
      select nameless.*
      from identity_sync.quarantined_verdict as nameless
      where replayed_settlement.library_id is null
        and nameless.library_id is null
        and nameless.closed_reason = 'replayed'
    ) as entry
    where entry.verified_at = replayed_settlement.verified_at
      and entry.origin = replayed_settlement.origin
      and entry.closed_at >= transaction_timestamp()
    limit 1
  );
end;
$$;

revoke all on function identity_sync_private.replayed_settlement(integer, text, timestamptz) from public;

comment on function identity_sync_private.replayed_settlement(integer, text, timestamptz) is
  'Takes a library (NULL: a verdict without one) and the origin and time of its answer; returns the settlement that refused it first, where this transaction replays it, or NULL.';
--! EndIncluded functions/write/replayed_settlement.sql
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
    closed_at = clock_timestamp(),
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
  set closed_at = clock_timestamp(), closed_reason = later
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
--! Included functions/write/repaired_credits.sql
-- A link that a repair has made looks like a librarian's, so that no answer of the service touches it. The settlements
-- of repairs tell the two apart, so that a later repair can correct an earlier one.
create or replace function identity_sync_private.repaired_credits(library_ids integer[])
returns integer[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(repaired.credit_id), '{}')
  from (
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    join identity_sync.settlement on settlement.settlement_id = superseded.settlement_id
    where superseded.library_id = any (library_ids) and identity_sync_private.is_repair(settlement.origin)
    union
    select credit.id
    from identity_sync.settlement
    cross join lateral unnest(settlement.linked_credit_ids) as linked (credit_id)
    join wxyc_schema.compilation_track_artist as credit on credit.id = linked.credit_id
    where identity_sync_private.is_repair(settlement.origin) and credit.library_id = any (library_ids)
  ) as repaired;
$$;

revoke all on function identity_sync_private.repaired_credits(integer[]) from public;

comment on function identity_sync_private.repaired_credits(integer[]) is
  'Takes library ids; returns their credits that a repair has linked, or taken a link from.';
--! EndIncluded functions/write/repaired_credits.sql
--! Included functions/write/compare_track_links.sql
-- Lays the judged tracks of compilations beside their credits and finds what each would change, writing nothing.
-- An entry joins the credit with exactly its artist_name and track_title; its artist is the one whose name folds as the
-- resolved name does. Each key and unusable entry is in one of the first seven counts, the others are "of which".
create or replace function identity_sync_private.compare_track_links(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  link_method text
)
returns identity_sync_private.compared_tracks
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- One hash join of all entries with all credits, however many rows the planner expects of arrays and of empty tables.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  library_ids constant integer[] := array(select verdict.library_id from unnest(verdicts) as verdict);
  -- What a repair has linked looks like a librarian's link, and a repair may correct it.
  repaired_ids constant integer[] := case
    when link_method = 'librarian' then identity_sync_private.repaired_credits(library_ids) else '{}'
  end;
  compared identity_sync_private.compared_tracks;
begin
  with entry as materialized (
    select verdict.library_id, track.*
    from unnest(verdicts) as verdict
    cross join lateral unnest(
      identity_sync_private.judge_tracks(compare_track_links.results #> array[(verdict.ordinal - 1)::text, 'tracks'])
    ) as track
  ),
  -- Several artists with one fold are ambiguous, and none of them is meant.
  artist as (
    select
      named.resolved_artist_name,
      (
        select case when count(*) = 1 then min(artists.id) end
        from wxyc_schema.artists
        where wxyc_schema.fold_artist_name(artists.artist_name) = named.fold
      ) as artist_id
    from (
      select entry.resolved_artist_name, wxyc_schema.fold_artist_name(entry.resolved_artist_name) as fold
      from entry
      where entry.resolved_artist_name is not null
      group by entry.resolved_artist_name
      offset 0
    ) as named
    offset 0
  ),
  credit as (
    select known.*, known.ctid as version
    from wxyc_schema.compilation_track_artist as known
    where known.library_id = any (library_ids)
  ),
  laid as (
    select
      entry.artist_name,
      entry.resolved_artist_name,
      entry.confidence,
      entry.confidence_out_of_range,
      entry.ambiguous_position,
      credit.id as credit_id,
      credit.version,
      credit.track_artist_id as known_artist_id,
      credit.track_artist_link_confidence as known_confidence,
      credit.track_artist_link_method as known_method,
      credit.track_position as known_position,
      num_nonnulls(credit.track_artist_id, credit.track_artist_link_confidence) = 0 as is_empty,
      credit.track_artist_link_method = 'librarian' and credit.id <> all (repaired_ids) as is_librarians,
      artist.artist_id,
      case
        when credit.track_position is null and char_length(entry.track_position) <= 20 then entry.track_position
      end as new_position
    from entry
    left join credit
      on credit.library_id = entry.library_id
      and credit.artist_name = entry.artist_name
      and coalesce(credit.track_title, '') = coalesce(entry.track_title, '')
      and (credit.track_title is null) = (entry.track_title is null)
    left join artist on artist.resolved_artist_name = entry.resolved_artist_name
    offset 0
  ),
  reached as (
    select
      laid.*,
      case
        when laid.artist_name is null then 'unusable'
        when laid.credit_id is null then 'no_cta_match'
        when laid.is_librarians then 'librarian'
        when laid.resolved_artist_name is null
          and (laid.known_method = 'lml_backfill' or laid.known_method = 'librarian' and not laid.is_empty)
        then 'unlinked'
        when laid.resolved_artist_name is null
        then case laid.known_method when 'librarian' then 'librarian' else 'no_resolved_name' end
        when laid.known_method is distinct from compare_track_links.link_method
          or laid.known_artist_id is distinct from laid.artist_id
          or laid.known_confidence is distinct from laid.confidence
          or laid.new_position is not null
        then 'written'
        when laid.known_method = 'librarian' then 'librarian'
        else 'unchanged'
      end as fate,
      laid.is_empty and laid.known_method is null as is_first
    from laid
    offset 0
  )
  select
    array_agg(
      row(
        reached.credit_id,
        reached.version,
        case
          when reached.fate = 'unlinked' then 'unlinked'
          when reached.is_first then 'linked'
          else 'changed'
        end,
        reached.artist_id,
        case when reached.fate = 'written' then reached.confidence end,
        case when reached.fate = 'written' then reached.new_position end
      )::identity_sync_private.track_change
      order by reached.credit_id
    ) filter (where reached.fate in ('written', 'unlinked')),
    coalesce(array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.is_first), '{}'),
    coalesce(
      array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.new_position is not null), '{}'
    ),
    jsonb_build_object(
      'written', count(*) filter (where reached.fate = 'written'),
      'unlinked', count(*) filter (where reached.fate = 'unlinked'),
      'unchanged', count(*) filter (where reached.fate = 'unchanged'),
      'librarian', count(*) filter (where reached.fate = 'librarian'),
      'no_cta_match', count(*) filter (where reached.fate = 'no_cta_match'),
      'no_resolved_name', count(*) filter (where reached.fate = 'no_resolved_name'),
      'unusable', count(*) filter (where reached.fate = 'unusable'),
      'no_catalog_artist',
      count(*) filter (where reached.fate in ('written', 'unchanged') and reached.artist_id is null),
      'ambiguous_position',
      count(*) filter (
        where reached.fate in ('written', 'unchanged') and reached.known_position is null and reached.ambiguous_position
      ),
      'position_written', count(*) filter (where reached.fate = 'written' and reached.new_position is not null),
      'confidence_out_of_range',
      count(*) filter (where reached.fate in ('written', 'unchanged') and reached.confidence_out_of_range)
    )
  into compared.changes, compared.linked, compared.positioned, compared.counts
  from reached;

  return compared;
end;
$$;

revoke all on function identity_sync_private.compare_track_links(
  identity_sync_private.judged_verdict[], jsonb, text
) from public;

comment on function identity_sync_private.compare_track_links(
  identity_sync_private.judged_verdict[], jsonb, text
) is
  'Takes judged compilations, LML''s results, which hold their tracks, and the method that their links get; returns the changes to their credits, in id order, and the counts of the report''s compilation_track.';
--! EndIncluded functions/write/compare_track_links.sql
--! Included functions/write/apply_identity_verdicts.sql
-- The only writer of identities, for the worker, the one-shot run, the operator and the dry run: judges each verdict,
-- writes the good ones, quarantines the bad ones and returns the report. A library is written whole or not at all, and
-- costs no other its verdict. A second call with the same verdicts changes nothing.
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
  attempted_ids integer[];
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
    attempted_ids := array(
      select attempt.library_id
      from identity_sync.attempt
      where attempt.library_id = any (judged_ids)
        and not exists (
          select from wxyc_schema.library_identity as known where known.library_id = attempt.library_id
        )
    );
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

  written := identity_sync_private.add_write_results(
    identity_sync_private.write_or_bisect(resolvable, results, stated_origin, verified_at, this_settlement),
    identity_sync_private.write_or_bisect(visited, results, stated_origin, verified_at, this_settlement)
  );
  -- Every result, and every id without one, has exactly one outcome from here on.
  written.verdicts := written.verdicts || others;

  perform identity_sync_private.record_attempts(written.verdicts, verified_at, is_repair, this_settlement);
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempted_ids, written, report
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; and whether a confidence outside its method''s band refuses its verdict. Returns the report as jsonb. Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58: 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/write/apply_identity_verdicts.sql
--! Included functions/write/apply_identity_response.sql
-- apply_identity_verdicts for the text of an answer as it came off the wire. Results that jsonb cannot hold are
-- quarantined as text and the others applied. Where the text is no answer, every requested id counts as lml_error.
create or replace function identity_sync.apply_identity_response(
  body text,
  requested integer[],
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false
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
  return identity_sync.apply_identity_verdicts(answer, requested, origin, verified_at, strict_bands);
end;
$$;

revoke all on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean) is
  'Takes the text of LML''s answer and what apply_identity_verdicts takes besides; returns its report. Raises LS003 where the text is no answer and no id was requested.';
--! EndIncluded functions/write/apply_identity_response.sql
--! Included functions/write/replace_attempt.sql
-- Sets a library's attempt, however new the one is that it replaces: a release, a hold and a poison input override any
-- answer. Only the mark of a release or a hold outlasts a poison input, as it outlasts every refusal.
create or replace function identity_sync_private.replace_attempt(
  library_id integer,
  outcome text,
  attempted_at timestamptz,
  settlement_id bigint,
  released_at timestamptz default null
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id, released_at)
  values (
    replace_attempt.library_id, replace_attempt.outcome, replace_attempt.attempted_at, replace_attempt.settlement_id,
    replace_attempt.released_at
  )
  on conflict (library_id) do update
  set
    outcome = excluded.outcome,
    attempted_at = excluded.attempted_at,
    settlement_id = coalesce(excluded.settlement_id, known.settlement_id),
    released_at = coalesce(excluded.released_at, known.released_at)
  -- A poison input that was replayed has no release of its own: it is refused again like any other.
  where excluded.outcome in ('released', 'held')
    or known.outcome not in ('released', 'held')
    or known.released_at is distinct from known.attempted_at;
$$;

revoke all on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint, timestamptz)
from public;

comment on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint, timestamptz) is
  'Takes a library, the outcome and time of its attempt, and the settlement that made it (NULL: that of the attempt before stays), and the time of an operator''s release (NULL: that of the last one stays).';
--! EndIncluded functions/write/replace_attempt.sql
--! Included functions/write/apply_poison_input.sql
-- Settles an input that LML refuses, or fails on while it answers others: the library gets a mark, and the input goes
-- to quarantine with LML's status and words. One whose library is gone, or knows better by now, leaves neither.
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
        array[identity_sync_private.bare_verdict(null, library_id, 'poison_input')], verified_at
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
--! Included functions/run/resume_identity_planning.sql
-- Lets the cron plan again, because a person has acted: a restarted worker may have another key, a run by hand has
-- shown that LML is well, or a pause is over.
create or replace function identity_sync.resume_identity_planning(name text default null)
returns text[]
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  lifted text[];
begin
  if name not in ('paused', 'key_refused', 'brake') then
    raise exception using
      errcode = 'LS001',
      message = format('name is %L', name),
      hint = 'Allowed: paused, key_refused, brake, or NULL for all of them.';
  end if;

  with gone as (
    delete from identity_sync.planning_hold as hold
    where resume_identity_planning.name is null or hold.name = resume_identity_planning.name
    returning hold.name
  )
  select coalesce(array_agg(gone.name order by gone.name), '{}')
  into lifted
  from gone;
  return lifted;
end;
$$;

revoke all on function identity_sync.resume_identity_planning(text) from public;

comment on function identity_sync.resume_identity_planning(text) is
  'Takes the name of a hold on planning (paused, key_refused, brake; NULL: every one) and lifts it; returns the names of those that were in force. Raises LS001 for another name.';
--! EndIncluded functions/run/resume_identity_planning.sql
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

  if ended.accept_unresolved and ended.outcome = 'completed' then
    perform identity_sync.resume_identity_planning('brake');
  end if;
end;
$$;

revoke all on function identity_sync_private.close_identity_run(bigint) from public;

comment on function identity_sync_private.close_identity_run(bigint) is
  'Takes a run; where every batch of it is closed, sets finished_at, outcome and report; else changes nothing.';
--! EndIncluded functions/run/close_identity_run.sql
--! Included functions/run/enqueue_lanes.sql
-- Enqueues the lanes of a run: jobs that each carry one batch after another until none is left. Spare lanes do no harm,
-- since claim_identity_batch limits the calls in flight, and their keys keep them from piling up in the queue.
create or replace function identity_sync.enqueue_lanes(run_id bigint, lanes integer, run_at timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  perform graphile_worker.add_job(
    'carry_identity_run',
    json_build_object('run_id', enqueue_lanes.run_id::text),
    run_at => enqueue_lanes.run_at,
    max_attempts => 3,
    flags => array['lane'],
    job_key => format('carry_identity_run:%s:%s', enqueue_lanes.run_id, lane)
  )
  from generate_series(
    1,
    least(
      lanes,
      (
        select count(*)
        from identity_sync.batch
        join identity_sync.run on run.run_id = batch.run_id
        where batch.run_id = enqueue_lanes.run_id and batch.closed_at is null
          and (run.stop_reason is null or batch.answer is not null)
      )
    )
  ) as lane;
end;
$$;

revoke all on function identity_sync.enqueue_lanes(bigint, integer, timestamptz) from public;

comment on function identity_sync.enqueue_lanes(bigint, integer, timestamptz) is
  'Takes a run, a number of lanes and when they begin (NULL: now); enqueues as many carry_identity_run jobs, though no more than the run has unfinished batches; of a run that is stopping, no more than it has kept answers.';
--! EndIncluded functions/run/enqueue_lanes.sql
--! Included functions/run/pause_identity_planning.sql
-- Keeps the cron from planning runs until a person resumes it, or until a time: for a deploy of LML, or while somebody
-- looks into a run. A run that is open goes on, and a run by hand is planned as ever.
create or replace function identity_sync.pause_identity_planning(reason text, until timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: status shows it.';
  end if;
  if until <= clock_timestamp() then
    raise exception using
      errcode = 'LS001',
      message = format('until is %s', until),
      hint = 'Allowed: a time to come, or NULL until it is resumed.';
  end if;

  insert into identity_sync.planning_hold as hold (name, reason, ends_at)
  values ('paused', format('paused by %s: %s', session_user, reason), nullif(until, 'infinity'))
  on conflict (name) do update
  set reason = excluded.reason, ends_at = excluded.ends_at, since = clock_timestamp();
end;
$$;

revoke all on function identity_sync.pause_identity_planning(text, timestamptz) from public;

comment on function identity_sync.pause_identity_planning(text, timestamptz) is
  'Takes why the cron shall plan nothing, and until when (NULL: until resume_identity_planning). Raises LS001 for an empty reason or a time that is past.';
--! EndIncluded functions/run/pause_identity_planning.sql
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
  accept_unresolved boolean default false,
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
        'accept_unresolved', accept_unresolved,
        'deadline_minutes', deadline_minutes,
        'call_budget', call_budget
      )
    );
    perform identity_sync.enqueue_lanes(opened, lanes);
    return opened;
  end if;

  insert into identity_sync.run (
    scope, dry_run, stale_days, unresolved_retry_days, include_null_canonical,
    partition_index, partition_count, ids, strict_bands, accept_unresolved, call_budget, batch_size, va_batch_size,
    deadline_at, scheduled, opened_by, unaskable_ids
  )
  values (
    plan_identity_run.scope, plan_identity_run.dry_run, plan_identity_run.stale_days,
    plan_identity_run.unresolved_retry_days, plan_identity_run.include_null_canonical,
    plan_identity_run.partition_index, plan_identity_run.partition_count, named_ids,
    plan_identity_run.strict_bands, plan_identity_run.accept_unresolved, plan_identity_run.call_budget,
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
  boolean, integer, integer, boolean
) from public;

comment on function identity_sync.plan_identity_run(
  text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
  boolean, integer, integer, boolean
) is
  'Takes the parameters of identity_candidates, the libraries a batch of either cohort (1 to 1000), whether all writes are rolled back, whether bands are strict, the calls in flight (1 to 32), who opens the run, whether the brake is off, its deadline in minutes (1 to 1440), its budget of calls (NULL: none), and whether the cron plans it; returns the id of the opened or joined run, or NULL where a planning hold stops the cron. Tells of a joined run in a notice (LS008), a warning where it keeps other settings than those asked for. Raises LS001 for a value out of range.';
--! EndIncluded functions/run/plan_identity_run.sql
--! Included functions/run/take_unreported_runs.sql
-- Hands each run that ended within the last day to the first process that asks, so Sentry hears of a run once, however
-- many processes carried it.
create or replace function identity_sync.take_unreported_runs()
returns table (run_id bigint, trace_id text, scheduled boolean, report jsonb)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  update identity_sync.run as ended
  set reported_at = clock_timestamp()
  where ended.finished_at > clock_timestamp() - interval '1 day' and ended.reported_at is null
  returning ended.run_id, ended.trace_id, ended.scheduled, ended.report;
$$;

revoke all on function identity_sync.take_unreported_runs() from public;

comment on function identity_sync.take_unreported_runs() is
  'Returns the runs that ended within a day and no process has reported yet, with trace and report, and marks them as reported.';
--! EndIncluded functions/run/take_unreported_runs.sql
--! Included functions/batch/fail_identity_batch.sql
-- Gives a batch up: nothing is written for its rows and they get no attempt, so they are due in the next run. The
-- report counts them all the same, as lml_error where LML failed, or as writer_error where the database could not
-- write.
create or replace function identity_sync.fail_identity_batch(
  batch_id bigint,
  failure text,
  counted_as text default 'lml_error',
  leased_by text default null
)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  failed_run bigint;
begin
  update identity_sync.batch
  set
    state = 'failed',
    leased_by = null,
    leased_until = null,
    answer = null,
    answered_at = null,
    failure = fail_identity_batch.failure,
    closed_at = clock_timestamp()
  where batch.batch_id = fail_identity_batch.batch_id
    and batch.closed_at is null
    and (fail_identity_batch.leased_by is null or batch.leased_by = fail_identity_batch.leased_by)
  returning batch.run_id
  into failed_run;

  if not found then
    return;
  end if;

  perform identity_sync_private.record_unanswered_batch(batch_id, counted_as);
  perform identity_sync_private.trip_breaker(failed_run, failure);
  perform identity_sync_private.close_identity_run(failed_run);
end;
$$;

revoke all on function identity_sync.fail_identity_batch(bigint, text, text, text) from public;

comment on function identity_sync.fail_identity_batch(bigint, text, text, text) is
  'Takes a batch, why it failed, the key of rows_skipped that its rows count as (lml_error or writer_error), and who must have leased it (NULL: anybody); closes it as failed. A batch that is closed already, or leased by another lane, stays as it is.';
--! EndIncluded functions/batch/fail_identity_batch.sql
--! Included functions/batch/quarantine_poison_input.sql
-- Closes a batch of one input as poisoned: LML refuses this input, or fails on it while it answers others. It is not
-- requested again within the retry window or until replayed or released, unless this is a dry run. One whose library is
-- gone counts as that.
create or replace function identity_sync_private.quarantine_poison_input(batch_id bigint, reason text, body text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  poisoned record;
begin
  if not exists (
    select
    from identity_sync.batch
    join wxyc_schema.library on library.id = batch.library_ids[1]
    where batch.batch_id = quarantine_poison_input.batch_id
  )
  then
    -- It has gone since it was requested: what nobody will request again needs no mark.
    perform identity_sync_private.apply_identity_batch(batch_id, '[]');
    return;
  end if;

  update identity_sync.batch
  set state = 'poisoned', leased_by = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  from identity_sync.run
  where batch.batch_id = quarantine_poison_input.batch_id and run.run_id = batch.run_id
  returning batch.library_ids[1] as library_id, batch.closed_at, run.dry_run, run.strict_bands
  into poisoned;

  if poisoned.dry_run then
    perform identity_sync_private.record_unanswered_batch(batch_id, 'poison_input');
  else
    perform identity_sync_private.apply_poison_input(
      batch_id, poisoned.library_id, reason, body, poisoned.closed_at, poisoned.strict_bands
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.quarantine_poison_input(bigint, text, text) from public;

comment on function identity_sync_private.quarantine_poison_input(bigint, text, text) is
  'Takes a batch of one library, LML''s status in words and its body; closes the batch as poisoned and settles its input. A dry run quarantines nothing.';
--! EndIncluded functions/batch/quarantine_poison_input.sql
--! Included functions/batch/finish_identity_call.sql
-- Records the result of a call and applies the fault policy (decide_call_outcome, sql/wire.md) to its batch. A caller
-- whose lease was lost meanwhile writes nothing. An answer is never asked for again because another session holds some
-- of its rows: it is kept.
create or replace function identity_sync.finish_identity_call(
  batch_id bigint,
  leased_by text,
  http_status integer,
  body text,
  failure text,
  latency_ms integer,
  retry_after text default null,
  max_tries integer default 3
)
returns table (outcome text, reason text, cache_stats jsonb, drift jsonb)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  came_at constant timestamptz := clock_timestamp();
  this_batch identity_sync.batch;
  this_run identity_sync.run;
  answer_text text;
  answer jsonb;
  decision text;
  retry_at timestamptz := identity_sync_private.parse_retry_after(retry_after);
begin
  select batch.*
  into this_batch
  from identity_sync.batch
  where batch.batch_id = finish_identity_call.batch_id
    and batch.leased_by = finish_identity_call.leased_by
    and batch.state in ('in_flight', 'answered')
  for update;

  if not found then
    outcome := 'lost';
    return next;
    return;
  end if;

  select run.*
  into this_run
  from identity_sync.run
  where run.run_id = this_batch.run_id;

  update identity_sync.lml_call
  set
    answered_at = clock_timestamp(),
    latency_ms = finish_identity_call.latency_ms,
    http_status = finish_identity_call.http_status,
    failure = finish_identity_call.failure
  where lml_call.batch_id = finish_identity_call.batch_id
    and lml_call.leased_by = finish_identity_call.leased_by
    and lml_call.answered_at is null;

  if failure is null and http_status = 200 then
    answer_text := coalesce(this_batch.answer, body);
    answer := identity_sync.read_identity_answer(answer_text, cardinality(this_batch.library_ids));
  end if;

  reason := case
    when answer is not null then null
    when failure is not null then failure
    when http_status = 200
    then 'LML answered 200 with what is no answer: '
      || coalesce(identity_sync_private.excerpt(answer_text, 200), 'no text at all')
    else format('LML answered %s: %s', http_status, identity_sync_private.lml_error_message(body))
      || coalesce(
        '; it asks for quiet until ' || to_char(retry_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', ''
      )
      || case when retry_at > this_run.deadline_at then ', later than the deadline of the run' else '' end
  end;
  retry_at := case when retry_at is not null then least(retry_at, this_run.deadline_at) end;

  decision := identity_sync_private.decide_call_outcome(
    http_status => http_status,
    has_answer => answer is not null,
    size => cardinality(this_batch.library_ids),
    tries => this_batch.tries,
    max_tries => max_tries,
    is_part => this_batch.root_batch_id is not null,
    has_answered_part => identity_sync_private.has_answered_part(this_batch.root_batch_id),
    is_stopping => this_run.stop_reason is not null
  );

  case decision
    when 'applied' then
      cache_stats := case
        when jsonb_typeof(answer -> 'cache_stats') = 'object'
        then identity_sync_private.printable(answer -> 'cache_stats')
      end;
      begin
        if this_batch.answer is not null then
          -- Its rows were held before: a lane does not wait for them a second time.
          perform set_config('lock_timeout', '100ms', true);
          perform identity_sync_private.lock_identities(this_batch.library_ids);
          perform set_config('lock_timeout', '5s', true);
        end if;
        perform identity_sync_private.apply_identity_batch(batch_id, answer, answer_text);
        drift := identity_sync_private.contract_breaches(batch_id);
        perform identity_sync_private.brake_identity_run(this_batch.run_id, batch_id);
        update identity_sync.run set pauses = 0 where run.run_id = this_batch.run_id and run.pauses > 0;
        -- An answer to a call that began after the key was refused proves that the key is good again.
        delete from identity_sync.planning_hold
        using identity_sync.lml_call
        where planning_hold.name = 'key_refused'
          and lml_call.batch_id = finish_identity_call.batch_id
          and lml_call.started_at > planning_hold.since;
        perform identity_sync_private.close_identity_run(this_batch.run_id);
      exception
        when lock_not_available then
          decision := 'kept';
          reason := sqlerrm;
          drift := null;
          perform identity_sync_private.keep_identity_answer(batch_id, answer_text, came_at);
      end;
    when 'key_refused' then
      perform identity_sync_private.stop_for_refused_key(batch_id, http_status, reason);
      decision := 'failed';
    when 'abandoned' then
      perform identity_sync_private.reopen_identity_batch(batch_id);
    when 'deferred' then
      perform identity_sync_private.defer_identity_batch(batch_id, retry_at);
    when 'retried' then
      perform identity_sync_private.retry_identity_batch(batch_id, retry_at);
    when 'split' then
      -- 30 cuts take 500 rows down to parts of about 16. If LML still answers 413, it is rejecting everything.
      decision := identity_sync_private.split_identity_batch(
        batch_id, reason, patience => case http_status when 413 then 30 else 5 end
      );
    when 'poison_input' then
      perform identity_sync_private.quarantine_poison_input(batch_id, reason, body);
    when 'failed' then
      perform identity_sync.fail_identity_batch(batch_id, reason);
  end case;

  outcome := decision;
  -- An applied batch has closed its run already, and a kept answer leaves it open.
  if outcome not in ('applied', 'kept') then
    perform identity_sync_private.close_identity_run(this_batch.run_id);
  end if;
  return next;
end;
$$;

revoke all on function identity_sync.finish_identity_call(
  bigint, text, integer, text, text, integer, text, integer
) from public;

comment on function identity_sync.finish_identity_call(bigint, text, integer, text, text, integer, text, integer) is
  'Takes a claimed batch and the name that leased it, the HTTP status (200 for an answer that the batch has kept), body and Retry-After header received (NULL: none), the failure in words where the call failed, its duration in milliseconds, and how often a call is tried; returns the outcome (applied, kept where other sessions hold its rows, retried, deferred, split, abandoned, poison_input, failed, or lost where another lane holds the lease by now), the reason in words, LML''s cache_stats, and how many results broke the protocol, by key.';
--! EndIncluded functions/batch/finish_identity_call.sql
--! Included functions/upkeep/analyze_filled_tables.sql
-- Renews the planner's statistics of the tables that a run fills, since the next plan may be made before autovacuum
-- comes. It waits for no lock: a table under maintenance by another session is skipped.
create or replace function identity_sync.analyze_filled_tables()
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  filled regclass;
begin
  for filled in
    select known.relid
    from pg_stat_user_tables as known
    join pg_class on pg_class.oid = known.relid
    where (
        known.schemaname = 'identity_sync'
        or known.schemaname = 'wxyc_schema'
          and known.relname in ('library_identity', 'library_identity_source', 'library_identity_history')
      )
      and known.n_mod_since_analyze > greatest(1000, 0.1 * pg_class.reltuples)
  loop
    execute format('analyze (skip_locked) %s', filled);
  end loop;
end;
$$;

revoke all on function identity_sync.analyze_filled_tables() from public;

comment on function identity_sync.analyze_filled_tables() is
  'Analyzes the tables of identities, their history and this schema of which a tenth, and a thousand rows, have changed since the last analysis.';
--! EndIncluded functions/upkeep/analyze_filled_tables.sql
--! Included functions/upkeep/prune_identity_sync.sql
-- Deletes what is of no use any more: batches of runs that ended long ago, with their calls and kept answers,
-- quarantine that was closed long ago, and workers that are gone. What undoing needs always stays: history, superseded
-- rows and settlements. A run keeps its report.
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

  delete from identity_sync.quarantined_verdict
  where quarantined_verdict.closed_at < keep_after;

  delete from identity_sync.worker
  where worker.asked_at < keep_after;
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older, and closes the quarantine of libraries that are gone. Raises LS001 for a value out of range.';
--! EndIncluded functions/upkeep/prune_identity_sync.sql
--! Included functions/upkeep/rescue_identity_runs.sql
-- Keeps the open runs going when processes have died: frees leases that ran out, stops runs past their deadline, ends
-- those that have nothing unfinished, and enqueues lanes for the rest, which a worker that has just joined takes up.
-- Calling it often does no harm.
create or replace function identity_sync.rescue_identity_runs(lanes integer)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  open identity_sync.run;
  still_open integer := 0;
begin
  -- Wait for claims, so that no lease is freed while a claim renews it.
  perform pg_advisory_xact_lock(hashtext('identity_sync.claim_identity_batch'));

  perform identity_sync_private.reopen_orphaned_batches();

  for open in
    select run.* from identity_sync.run where run.finished_at is null order by run.run_id for no key update skip locked
  loop
    if open.deadline_at < clock_timestamp() then
      perform identity_sync.stop_identity_run(
        open.run_id, 'its deadline has passed, what is left is due next time', cause => 'deadline'
      );
    elsif open.stop_reason is not null then
      -- Abandon what was in flight when the run stopped and whose process has died since.
      perform identity_sync.stop_identity_run(open.run_id, open.stop_reason, cause => open.stop_cause);
      perform identity_sync.enqueue_lanes(open.run_id, lanes);
    else
      perform identity_sync_private.close_identity_run(open.run_id);
      perform identity_sync.enqueue_lanes(open.run_id, lanes, open.paused_until);
    end if;
    still_open := still_open + 1;
  end loop;

  return still_open;
end;
$$;

revoke all on function identity_sync.rescue_identity_runs(integer) from public;

comment on function identity_sync.rescue_identity_runs(integer) is
  'Takes the lanes to enqueue for each open run; returns how many runs were open.';
--! EndIncluded functions/upkeep/rescue_identity_runs.sql
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
        strict_bands => previewed.strict_bands
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
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  held_at constant timestamptz := clock_timestamp();
  kept_history_ids integer[];
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: it is kept in the history.';
  end if;
  if not exists (select from wxyc_schema.library where library.id = hold_identity.library_id) then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;

  perform identity_sync_private.lock_identities(array[library_id]);

  kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'hold');
  update wxyc_schema.library_identity as known
  set notes = identity_sync_private.repair_origin(session_user)
  where known.library_id = hold_identity.library_id;
  if not found then
    perform identity_sync_private.replace_attempt(library_id, 'held', held_at, this_settlement, held_at);
  end if;

  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, requested, unrequested, report, history_ids
  )
  overriding system value
  values (
    this_settlement, identity_sync_private.repair_origin(session_user), held_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids
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
--! Included functions/repair/identity_quarantine.sql
-- Lists what is in quarantine, the latest refusal first: all of it, or what a run or some libraries have there.
create or replace function identity_sync.identity_quarantine(run_id bigint default null, ids integer[] default null)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        to_jsonb(entry) || jsonb_build_object('artist_name', library.artist_name, 'album_title', library.album_title)
        order by entry.quarantined_at desc, entry.quarantine_id desc
      ),
      '[]'
    )
  from identity_sync.quarantine as entry
  left join wxyc_schema.library on library.id = entry.library_id
  where (identity_quarantine.run_id is null or entry.run_id = identity_quarantine.run_id)
    and (identity_quarantine.ids is null or entry.library_id = any (identity_quarantine.ids));
$$;

revoke all on function identity_sync.identity_quarantine(bigint, integer[]) from public;

comment on function identity_sync.identity_quarantine(bigint, integer[]) is
  'Takes a run and library ids to narrow it to (NULL: every run, every library); returns an array of the entries of the view quarantine with the artist and title they are filed under, the latest first.';
--! EndIncluded functions/repair/identity_quarantine.sql
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
        strict_bands => answer.strict_bands
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
  lacking integer;
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

  select count(*) into lacking
  from unnest(known) as brought (hash)
  where not exists (select from graphile_migrate.migrations as seen where seen.hash = brought.hash);
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
  order by pg_proc.proname
  limit 1;
  if found then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
        'permission denied for %s: %I is no member of %s',
        denied.name, current_user, coalesce(denied.roles, 'any role that may call it')
      ),
      hint = format(
        'Use a login that is (README, "Which login"), or make this one a member: '
          'psql "$DATABASE_URL" -v %s=%I -f sql/roles.sql.',
        coalesce(denied.variable, 'worker'), current_user
      );
  end if;
end;
$$;

revoke all on function identity_sync.assert_program_fits(text[], text[]) from public;

comment on function identity_sync.assert_program_fits(text[], text[]) is
  'Takes the hashes of the migrations that a program brings and the functions that it calls; raises LS005 where the database is newer or older or lacks columns, and 42501 where this login may not call one of them.';
--! EndIncluded functions/observe/assert_program_fits.sql
--! Included functions/observe/identity_metrics.sql
-- What a dashboard counts. It is read from the tables, so that every process gives the same numbers.
-- Totals are the sum of all reports of real settlements, grouped by kind: rows (whose outcomes add up to scanned),
-- source_rows, identity, source and compilation_track.
create or replace function identity_sync.identity_metrics(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with settled as (
    -- A finished run keeps its sum, so that old settlements are not added up again. A preview's are not in it.
    select run.report from identity_sync.run where run.finished_at is not null and not run.dry_run
    union all
    select settlement.report
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    where not settlement.dry_run and (run.finished_at is null or run.dry_run)
    union all
    -- Provides every key before the first settlement.
    select identity_sync_private.empty_report()
  ),
  total as (
    select entry.key, part.key as part, sum(coalesce(part.value, entry.value #>> '{}')::bigint) as total
    from settled
    cross join lateral jsonb_each(settled.report) as entry
    left join lateral jsonb_each_text(
      case jsonb_typeof(entry.value) when 'object' then entry.value end
    ) as part on true
    where entry.key <> 'scanned' and identity_sync_private.empty_report() ? entry.key
    group by entry.key, part.key
  ),
  by_kind as (
    select named.kind, jsonb_object_agg(coalesce(total.part, total.key), total.total) as totals
    from total
    cross join lateral (
      select
        case
          when total.key like E'source\\_rows\\_%' then 'source_rows'
          when total.key like E'rows\\_%' then 'rows'
          else total.key
        end as kind
    ) as named
    group by named.kind
  ),
  unfinished as (
    select batch.state, count(*) as batches, count(*) filter (where batch.leased_until >= clock_timestamp()) as leased
    from identity_sync.batch
    where batch.closed_at is null
    group by batch.state
  )
  select jsonb_build_object(
    'totals', (select jsonb_object_agg(by_kind.kind, by_kind.totals) from by_kind),
    'due_rows', (
      select
        jsonb_build_object(
          'va', count(*) filter (where due.cohort = 'va'), 'non_va', count(*) filter (where due.cohort = 'non_va')
        )
      from identity_sync.identity_candidates(
        stale_days => identity_metrics.stale_days,
        unresolved_retry_days => identity_metrics.unresolved_retry_days,
        include_null_canonical => identity_metrics.include_null_canonical
      ) as due
    ),
    'open_batches', (
      select jsonb_build_object('open', 0, 'in_flight', 0, 'answered', 0)
        || coalesce(jsonb_object_agg(unfinished.state, unfinished.batches), '{}')
      from unfinished
    ),
    'calls_in_flight', coalesce((select unfinished.leased from unfinished where unfinished.state = 'in_flight'), 0),
    'quarantined', (
      select
        '{"invalid_verdict": 0, "writer_error": 0, "lml_untrusted_library_id": 0, "poison_input": 0}'::jsonb
        || coalesce(jsonb_object_agg(entry.outcome, entry.entries), '{}')
      from (
        select outcome, count(*) as entries
        from identity_sync.quarantined_verdict
        where closed_at is null
        group by outcome
      ) as entry
    ),
    'planning_holds', (
      select '{"paused": 0, "key_refused": 0, "brake": 0}'::jsonb || coalesce(jsonb_object_agg(hold.name, 1), '{}')
      from identity_sync.planning_hold as hold
    ),
    'last_success_age_seconds', (
      select extract(epoch from clock_timestamp() - max(run.finished_at))
      from identity_sync.run
      where run.outcome = 'completed' and not run.dry_run and run.scope <> 'ids'
    )
  );
$$;

revoke all on function identity_sync.identity_metrics(integer, integer, boolean) from public;

comment on function identity_sync.identity_metrics(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns totals by kind and report key, and counts of due rows, open batches, calls in flight, quarantine and planning holds, and the seconds since the last success. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_metrics.sql
--! Included functions/observe/missing_migrations.sql
-- Tells a program that its database lacks migrations, before the program meets a function that is missing.
-- roles.sql opens the history to every reader, since it belongs to the role that migrates.
create or replace function identity_sync.missing_migrations(known text[])
returns integer
language sql stable
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  select count(*)::integer
  from unnest(missing_migrations.known) as brought (hash)
  where not exists (select from graphile_migrate.migrations as seen where seen.hash = brought.hash);
$$;

revoke all on function identity_sync.missing_migrations(text[]) from public;

comment on function identity_sync.missing_migrations(text[]) is
  'Takes the hashes of the migrations that a program brings; returns how many of them this database has not seen.';
--! EndIncluded functions/observe/missing_migrations.sql
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
  stored.source,
  stored.method,
  case
    when stored.confidence >= 1 then '1.00'
    when stored.confidence >= 0.95::real then '0.95 - 0.99'
    when stored.confidence >= 0.90::real then '0.90 - 0.94'
    when stored.confidence >= 0.80::real then '0.80 - 0.89'
    when stored.confidence >= 0.70::real then '0.70 - 0.79'
    else 'below 0.70'
  end as confidence_band,
  case when stored.library_id in (select compilation.id from compilation) then 'va' else 'non_va' end as cohort,
  count(*) as libraries
from (
  select known.library_id, 'composed' as source, known.method, known.confidence
  from wxyc_schema.library_identity as known
  union all
  select known.library_id, known.source, known.method, known.confidence
  from wxyc_schema.library_identity_source as known
) as stored
group by 1, 2, 3, 4
order by 1, 2, 3, 4;

comment on view identity_sync.coverage is
  'Library rows with an identity (source composed) and with each source, by method, band of confidence and cohort.';
--! EndIncluded views/coverage.sql
--! Included views/gate.sql
-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited; the last seven columns say why it is not resolved, one cause a row. The view always has one row.
create or replace view identity_sync.gate as
select
  count(*) filter (where counted.cause is not null) as truly_unresolved,
  1000 as allowed,
  count(*) filter (where counted.cause is not null) < 1000 as is_complete,
  count(*) as libraries,
  count(*) filter (where counted.is_resolved) as resolved,
  count(*) filter (where not counted.is_resolved and counted.artist_is_resolved) as resolved_by_artist,
  count(*) filter (where counted.cause = 'no_name') as no_name,
  count(*) filter (where counted.cause = 'not_on_discogs') as not_on_discogs,
  count(*) filter (where counted.cause = 'compilation') as compilation,
  count(*) filter (where counted.cause = 'unresolved') as unresolved,
  count(*) filter (where counted.cause = 'refused') as refused,
  count(*) filter (where counted.cause = 'never_asked') as never_asked,
  count(*) filter (where counted.cause = 'other') as other
from (
  select
    ranked.is_resolved,
    ranked.artist_is_resolved,
    case
      when ranked.is_resolved or ranked.artist_is_resolved then null
      when not identity_sync_private.has_name(ranked.artist_name) then 'no_name'
      when ranked.id in (select identity_sync_private.libraries_not_on_discogs()) then 'not_on_discogs'
      else coalesce(
        -- One look a row that keeps the gate closed: to join all attempts takes twice as long.
        (
          select
            case
              when attempt.outcome in ('compilation', 'unresolved') then attempt.outcome
              when attempt.outcome in ('invalid_verdict', 'writer_error', 'poison_input') then 'refused'
              else 'other'
            end
          from identity_sync.attempt
          where attempt.library_id = ranked.id
        ),
        case when ranked.has_identity then 'other' else 'never_asked' end
      )
    end as cause
  from (
    select
      library.id,
      library.artist_name,
      known.library_id is not null as has_identity,
      -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
      coalesce(known.confidence >= 0.70::real, false) as is_resolved,
      coalesce(
        bool_or(known.confidence >= 0.70::real and known.method <> 'inherited') over (partition by library.artist_id),
        false
      ) as artist_is_resolved
    from wxyc_schema.library
    left join wxyc_schema.library_identity as known on known.library_id = library.id
  ) as ranked
  -- A fence, so that the cause of a row is found once and not once a counter.
  offset 0
) as counted;

comment on view identity_sync.gate is
  'One row: the library rows truly unresolved, how many the station allows, whether the backfill is complete, the rest by how it is resolved, and the truly unresolved by cause: no artist name, not on Discogs, a compilation by LML''s last answer, unresolved by it, refused, never asked, and other (below 0.70, released, or left to another writer).';
--! EndIncluded views/gate.sql
--! Included views/homonyms.sql
-- Shows where one identity may stand for two acts: LML answers by name alone, so artists of one folded name get the
-- same ids. Each row is a library that shares an id with a library of another artist of that name; whether they are one
-- act is for a person to say.
create or replace view identity_sync.homonyms as
with carried as (
  select
    same.name,
    library.id as library_id,
    library.artist_id,
    artist.artist_name,
    library.album_title,
    id.kind,
    id.external_id,
    min(library.artist_id) over by_id <> max(library.artist_id) over by_id as is_shared
  from (
    select wxyc_schema.fold_artist_name(artists.artist_name) as name
    from wxyc_schema.artists
    group by 1
    having count(*) > 1
  ) as same
  -- Fences: these names are few, and the planner takes them for a third of all.
  cross join lateral (
    select artists.id, artists.artist_name
    from wxyc_schema.artists
    where wxyc_schema.fold_artist_name(artists.artist_name) = same.name
    offset 0
  ) as artist
  cross join lateral (
    select library.id, library.artist_id, library.album_title
    from wxyc_schema.library
    where library.artist_id = artist.id
    offset 0
  ) as library
  cross join lateral (
    select known.*
    from wxyc_schema.library_identity as known
    where known.library_id = library.id
    offset 0
  ) as known
  cross join lateral (
    values
      ('discogs_artist_id', known.discogs_artist_id::text),
      ('musicbrainz_artist_id', known.musicbrainz_artist_id),
      ('wikidata_qid', known.wikidata_qid),
      ('spotify_id', known.spotify_id),
      ('apple_music_id', known.apple_music_id),
      ('bandcamp_id', known.bandcamp_id)
  ) as id (kind, external_id)
  where id.external_id is not null
  window by_id as (partition by same.name, id.kind, id.external_id)
)
select
  carried.name,
  carried.library_id,
  carried.artist_id,
  carried.artist_name,
  carried.album_title,
  jsonb_object_agg(carried.kind, carried.external_id) as shared_ids
from carried
where carried.is_shared
group by 1, 2, 3, 4, 5
order by 1, 3, 2;

comment on view identity_sync.homonyms is
  'Library rows that share an id with a row of another artist of the same folded name: that name, the library, its artist, and the shared ids by column.';
--! EndIncluded views/homonyms.sql
