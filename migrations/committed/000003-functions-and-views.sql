--! Previous: sha1:2fa9cbb34121e3d954fc976f83d099c3745e1f09
--! Hash: sha1:6ef2cb4427a74a12410b555951bb85e2366700f3
--! Message: functions and views

-- Functions from the bottom room to the top one, then the views. Bodies are checked when they run, since they call one another.

set local check_function_bodies = off;

--! Included functions/wire/is_blank.sql
-- A blank name is NULL, empty or white space only, Unicode's kinds included. LML refuses a whole batch for one of them.
-- The stated cost of 50 makes the planner ask it last.
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
--! EndIncluded functions/wire/is_blank.sql
--! Included functions/wire/has_name.sql
-- LML can be asked only for an artist whose name is not blank.
-- The first character decides nearly every name, at a fraction of the cost of is_blank.
create or replace function identity_sync_private.has_name(name text)
returns boolean
language sql immutable parallel safe
return coalesce(ascii(name) between 33 and 126, false) or not identity_sync.is_blank(name);

revoke all on function identity_sync_private.has_name(text) from public;

comment on function identity_sync_private.has_name(text) is
  'Takes an artist''s name or NULL; returns whether it is not blank.';
--! EndIncluded functions/wire/has_name.sql
--! Included functions/wire/has_text.sql
-- A text of a track counts only where it holds more than white space.
-- The first character decides nearly every case at less cost.
create or replace function identity_sync_private.has_text(value text)
returns boolean
language sql immutable parallel safe
return ascii(value) > 32 or btrim(value, E' \t\n\v\f\r') <> '';

revoke all on function identity_sync_private.has_text(text) from public;

comment on function identity_sync_private.has_text(text) is
  'Takes a text or NULL; returns whether it holds anything but ASCII white space, NULL for NULL.';
--! EndIncluded functions/wire/has_text.sql
--! Included functions/wire/is_identifier_or_null.sql
-- The wire contract's rule for an artist's id in a catalogue: a string of 1 to 512 characters that is not blank, or
-- nothing.
-- Bytes are compared first, because counting characters is slow and a string has at least as many bytes.
create or replace function identity_sync_private.is_identifier_or_null(characters text)
returns boolean
language sql immutable parallel safe
return characters is null
  or (
    identity_sync_private.has_name(characters)
    and (octet_length(characters) <= 512 or char_length(characters) <= 512)
  );

revoke all on function identity_sync_private.is_identifier_or_null(text) from public;

comment on function identity_sync_private.is_identifier_or_null(text) is
  'Takes text_of a JSON value; returns whether that is null or a string of 1 to 512 characters that is not blank.';
--! EndIncluded functions/wire/is_identifier_or_null.sql
--! Included functions/wire/is_identity_answer.sql
-- An answer of LML is an array of results, an object with such an array, or one result.
-- The jsonpath reads its megabytes in place; the operator -> would copy them.
create or replace function identity_sync_private.is_identity_answer(response jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    case jsonb_typeof(response)
      when 'array' then true
      when 'object' then case
        when response ? 'results' then response @? 'strict $.results ? (@.type() == "array")'
        else response ? 'library_id' or response ? 'kind'
      end
    end,
    false
  );
$$;

revoke all on function identity_sync_private.is_identity_answer(jsonb) from public;

comment on function identity_sync_private.is_identity_answer(jsonb) is
  'Takes a JSON document or NULL; returns whether it is LML''s whole answer, an array of results, or one result.';
--! EndIncluded functions/wire/is_identity_answer.sql
--! Included functions/wire/is_in_band.sql
-- The band of confidence that the wire contract locks each method to: the only place that states it.
-- LML's confidences are float4, so each bound is widened by 0.00001.
create or replace function identity_sync_private.is_in_band(method text, confidence numeric)
returns boolean
language sql immutable parallel safe
-- The method that is most frequent comes first.
return case method
  when 'exact_match' then confidence >= 1.00 - 0.00001
  when 'cross_source_agreement' then confidence >= 0.00
  when 'name_variation' then confidence between 0.90 - 0.00001 and 0.99 + 0.00001
  when 'alias_match' then confidence between 0.75 - 0.00001 and 0.84 + 0.00001
  when 'trigram' then confidence >= 0.70 - 0.00001
  when 'member_group' then confidence between 0.80 - 0.00001 and 0.89 + 0.00001
  when 'llm' then confidence between 0.60 - 0.00001 and 0.79 + 0.00001
  when 'manual' then confidence >= 1.00 - 0.00001
end;

revoke all on function identity_sync_private.is_in_band(text, numeric) from public;

comment on function identity_sync_private.is_in_band(text, numeric) is
  'Takes a method and a confidence from 0 to 1; returns whether it is within the method''s band, NULL where the method is unknown or there is no confidence.';
--! EndIncluded functions/wire/is_in_band.sql
--! Included functions/wire/is_integer.sql
-- The wire contract's rule for an integer: 7 and 7.0 are integers, 7.5, "7" and 1e400 are not.
-- The guard is immutable, so that a plan for one known value never reaches the cast of a value that is no number.
create or replace function identity_sync_private.is_integer(value jsonb, minimum integer)
returns boolean
language sql immutable parallel safe
return case jsonb_typeof(value)
  when 'number' then value::numeric between minimum and 2147483647 and trunc(value::numeric) = value::numeric
  else false
end;

revoke all on function identity_sync_private.is_integer(jsonb, integer) from public;

comment on function identity_sync_private.is_integer(jsonb, integer) is
  'Takes a JSON value or NULL, and the least integer allowed; returns whether it is an integer from there to 2147483647.';
--! EndIncluded functions/wire/is_integer.sql
--! Included functions/wire/methods.sql
-- Every method of the wire contract, in the order in which a refusal lists them.
-- is_in_band.sql holds the band of each; a test holds the two together.
create or replace function identity_sync_private.methods()
returns text[]
language sql immutable parallel safe
return '{
  manual, cross_source_agreement, exact_match, name_variation, member_group, alias_match, trigram, llm
}'::text[];

revoke all on function identity_sync_private.methods() from public;

comment on function identity_sync_private.methods() is
  'Returns the methods that a verdict or a source may name.';
--! EndIncluded functions/wire/methods.sql
--! Included functions/wire/is_method.sql
-- Whether the wire contract knows a method, so that the judge and the explainer ask one list.
create or replace function identity_sync_private.is_method(method text)
returns boolean
language sql immutable parallel safe
return method = any (identity_sync_private.methods());

revoke all on function identity_sync_private.is_method(text) from public;

comment on function identity_sync_private.is_method(text) is
  'Takes a method or NULL; returns whether it is one of methods(), NULL for NULL.';
--! EndIncluded functions/wire/is_method.sql
--! Included functions/wire/repair_origin.sql
-- The origin of a repair by hand. Consumers of the tables read its first word in notes, so it never changes.
create or replace function identity_sync_private.repair_origin(name text)
returns text
language sql immutable parallel safe
return 'repair:' || name;

revoke all on function identity_sync_private.repair_origin(text) from public;

comment on function identity_sync_private.repair_origin(text) is
  'Takes who repairs, as a rule a login; returns the origin of the repair.';
--! EndIncluded functions/wire/repair_origin.sql
--! Included functions/wire/is_repair.sql
-- A repair by hand overrides what the service may not touch, and holds what it writes against the service.
create or replace function identity_sync_private.is_repair(origin text)
returns boolean
language sql immutable parallel safe
return starts_with(origin, identity_sync_private.repair_origin(''));

revoke all on function identity_sync_private.is_repair(text) from public;

comment on function identity_sync_private.is_repair(text) is
  'Takes an origin, or the notes of a row; returns whether it is a repair by hand, NULL for NULL.';
--! EndIncluded functions/wire/is_repair.sql
--! Included functions/wire/service_origin.sql
-- The origin of what the service writes by itself, kept in notes. Consumers of the tables read it, so it never changes.
create or replace function identity_sync_private.service_origin()
returns text
language sql immutable parallel safe
return 'consumer:lml-bulk';

revoke all on function identity_sync_private.service_origin() from public;

comment on function identity_sync_private.service_origin() is
  'Returns the origin of the service, one of the two kinds that apply_identity_verdicts allows; repair_origin makes the other.';
--! EndIncluded functions/wire/service_origin.sql
--! Included functions/wire/is_ours.sql
-- Source rows of ours go when a verdict no longer names them; another writer's stay.
create or replace function identity_sync_private.is_ours(notes text)
returns boolean
language sql immutable parallel safe
return notes = identity_sync_private.service_origin() or identity_sync_private.is_repair(notes);

revoke all on function identity_sync_private.is_ours(text) from public;

comment on function identity_sync_private.is_ours(text) is
  'Takes the notes of a row; returns whether the service or a repair wrote it, NULL for NULL.';
--! EndIncluded functions/wire/is_ours.sql
--! Included functions/wire/is_plausible_time.sql
-- A time that says how old something is lies in the past. One that is more than a minute ahead of the clock says
-- nothing: what bears it is of unknown age, so it is due, and it overtakes no answer.
create or replace function identity_sync_private.is_plausible_time(at timestamptz)
returns boolean
language sql stable parallel safe
return at <= statement_timestamp() + interval '1 minute';

revoke all on function identity_sync_private.is_plausible_time(timestamptz) from public;

comment on function identity_sync_private.is_plausible_time(timestamptz) is
  'Takes a time or NULL; returns whether it is at most a minute ahead of the database''s clock, NULL for NULL.';
--! EndIncluded functions/wire/is_plausible_time.sql
--! Included functions/wire/is_set_by_hand.sql
-- A main row set by hand outlives the service's verdicts until it is released.
-- The service's own verdicts of method manual do not count: their notes say that the service wrote them.
create or replace function identity_sync_private.is_set_by_hand(method text, notes text)
returns boolean
language sql immutable parallel safe
return identity_sync_private.is_repair(notes)
  or (method = 'manual' and notes is distinct from identity_sync_private.service_origin());

revoke all on function identity_sync_private.is_set_by_hand(text, text) from public;

comment on function identity_sync_private.is_set_by_hand(text, text) is
  'Takes a main row''s method and notes; returns whether a person set it (NULL counts as no).';
--! EndIncluded functions/wire/is_set_by_hand.sql
--! Included functions/wire/jsonb_or_null.sql
-- Casts a text to jsonb, and returns NULL where that fails for any reason.
-- This is the only place where a failing cast is no error.
create or replace function identity_sync_private.jsonb_or_null(value text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return value::jsonb;
exception
  when others then
    return null;
end;
$$;

revoke all on function identity_sync_private.jsonb_or_null(text) from public;

comment on function identity_sync_private.jsonb_or_null(text) is
  'Takes a text; returns it as jsonb, NULL where jsonb refuses it.';
--! EndIncluded functions/wire/jsonb_or_null.sql
--! Included functions/wire/printable.sql
-- A document that is stored or sent becomes text sooner or later, and a number of eight bytes may be 131,072 digits
-- then: one that holds such a number, or is nested too deeply to be looked through, is not kept.
create or replace function identity_sync_private.printable(document jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when document @? '$.** ? (
      @.type() == "number" && (@ > 1e100 || @ < -1e100 || (@ > -1e-100 && @ < 1e-100 && @ != 0))
    )'
    then null
    else document
  end;
exception
  when others then
    return null;
end;
$$;

revoke all on function identity_sync_private.printable(jsonb) from public;

comment on function identity_sync_private.printable(jsonb) is
  'Takes a JSON document or NULL; returns it, NULL where it holds a number beyond 1e100 or nearer to 0 than 1e-100, or cannot be looked through.';
--! EndIncluded functions/wire/printable.sql
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
  return left(
    coalesce(
      case when jsonb_typeof(read) = 'object' then coalesce(
        identity_sync_private.printable(read -> 'message') #>> '{}',
        identity_sync_private.printable(read -> 'detail') #>> '{}'
      ) end,
      nullif(btrim(body), ''),
      'no words'
    ),
    300
  );
end;
$$;

revoke all on function identity_sync_private.lml_error_message(text) from public;

comment on function identity_sync_private.lml_error_message(text) is
  'Takes the body of an error; returns its message in at most 300 characters.';
--! EndIncluded functions/wire/lml_error_message.sql
--! Included functions/wire/names_an_artist.sql
-- A single_artist names the artist by an id in main or by a source's external_id. Written without either, it would
-- count as resolved and identify nothing. The judge asks the same of the fields that it has read.
create or replace function identity_sync_private.names_an_artist(verdict jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    verdict -> 'kind' is distinct from '"single_artist"'
    or num_nonnulls(
      nullif(verdict #> '{main,discogs_artist_id}', 'null'), nullif(verdict #> '{main,musicbrainz_artist_id}', 'null'),
      nullif(verdict #> '{main,wikidata_qid}', 'null'), nullif(verdict #> '{main,spotify_artist_id}', 'null'),
      nullif(verdict #> '{main,apple_music_artist_id}', 'null'), nullif(verdict #> '{main,bandcamp_id}', 'null')
    ) > 0
    or coalesce(verdict @? '$.provenance[*].external_id ? (@ != null)', false);
$$;

revoke all on function identity_sync_private.names_an_artist(jsonb) from public;

comment on function identity_sync_private.names_an_artist(jsonb) is
  'Takes a verdict whose fields are valid one by one; returns whether it names an artist, or is no single_artist.';
--! EndIncluded functions/wire/names_an_artist.sql
--! Included functions/wire/parse_retry_after.sql
-- Reads a Retry-After header: a number of seconds, or a date as HTTP writes it.
-- Anything else is ignored, because only a proxy in front of LML sends the header.
create or replace function identity_sync_private.parse_retry_after(retry_after text)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, DMY'
as $$
begin
  return case
    when retry_after ~ '^\s*[0-9]{1,6}\s*$' then clock_timestamp() + retry_after::integer * interval '1 second'
    when retry_after ~ '^\s*[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\s*$'
    then substring(retry_after from ', (.*) GMT')::timestamp at time zone 'UTC'
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
--! Included functions/wire/read_confidence.sql
-- Reads a confidence of the wire contract: a number from 0 to 1.
-- A number next to nothing is rounded to 12 places, because real cannot hold it.
create or replace function identity_sync_private.read_confidence(value jsonb)
returns numeric
language sql immutable parallel safe
return case
  when value between '0.000001' and '1' then value::numeric
  when value between '0' and '1' then round(value::numeric, 12)
end;

revoke all on function identity_sync_private.read_confidence(jsonb) from public;

comment on function identity_sync_private.read_confidence(jsonb) is
  'Takes a JSON value or NULL; returns it as a number, NULL where it is no number from 0 to 1.';
--! EndIncluded functions/wire/read_confidence.sql
--! Included functions/wire/results_of.sql
-- Finds the results in an answer: its array "results", the answer itself where it is an array, or its only result.
create or replace function identity_sync_private.results_of(response jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when not identity_sync_private.is_identity_answer(response) then null
    when jsonb_typeof(response) = 'array' then response
    when response ? 'results' then response -> 'results'
    else jsonb_build_array(response)
  end;
$$;

revoke all on function identity_sync_private.results_of(jsonb) from public;

comment on function identity_sync_private.results_of(jsonb) is
  'Takes LML''s whole answer, an array of results, or one result; returns the array of results, NULL where it is none of these.';
--! EndIncluded functions/wire/results_of.sql
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
    'library_id', case when id ~ '^-?[0-9]{1,10}(\.0+)?$' then id::numeric end,
    'unreadable', replace(masked, mark || 'n', '\u'),
    'path', replace(ltrim(path, '.'), mark || 'n', '\u'),
    'fault', case
      when is_marked then 'the escape \u' || left(split_part(masked, mark || 'n', 2), 4)
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
  masked := replace(masked, '\\', mark || 'b');
  masked := replace(masked, '\u0000', mark || 'n0000');
  -- Each surrogate is one match of a regular expression, of which half a million take a second.
  surrogates := (2 * octet_length(masked) - octet_length(replace(masked, '\ud', ''))
    - octet_length(replace(masked, '\uD', ''))) / 3;
  if surrogates > 500000 then
    return null;
  end if;
  if surrogates > 0 then
    -- Whole pairs first: the surrogates that are left are lone ones.
    masked := regexp_replace(
      masked, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})', mark || 'p\1' || mark || 'q\2', 'g'
    );
    masked := regexp_replace(masked, '\\u([dD][89a-fA-F][0-9a-fA-F]{2})', mark || 'n\1', 'g');
    masked := replace(replace(masked, mark || 'p', '\u'), mark || 'q', '\u');
  end if;
  masked := replace(masked, mark || 'b', '\\');

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
--! Included functions/wire/sources.sql
-- Every source of the wire contract, in the order in which a refusal lists them. No other code lists them. A new source
-- goes to the end, since its place gives source_bit; at most 31 have room.
create or replace function identity_sync_private.sources()
returns text[]
language sql immutable parallel safe
return '{discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp}'::text[];

revoke all on function identity_sync_private.sources() from public;

comment on function identity_sync_private.sources() is
  'Returns the sources that a provenance entry may name.';
--! EndIncluded functions/wire/sources.sql
--! Included functions/wire/source_bit.sql
-- A bit for each source, so that a group finds in one pass whether it names a source twice: then the sum of the bits
-- differs from their union.
create or replace function identity_sync_private.source_bit(source text)
returns integer
language sql immutable parallel safe
return 1 << (array_position(identity_sync_private.sources(), source) - 1);

revoke all on function identity_sync_private.source_bit(text) from public;

comment on function identity_sync_private.source_bit(text) is
  'Takes a source or NULL; returns its bit, NULL where it is none of sources().';
--! EndIncluded functions/wire/source_bit.sql
--! Included functions/wire/spell_out.sql
-- Writes a document whose numbers are too long for jsonb's own text, each such number with an exponent, so that it can
-- be shown, and be read again by a replay.
create or replace function identity_sync_private.spell_out(document jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case jsonb_typeof(document)
    when 'object' then '{' || coalesce(
      (
        select string_agg(
          to_json(member.key)::text || ': ' || identity_sync_private.spell_out(member.value), ', ' order by ordinality
        )
        from jsonb_each(document) with ordinality as member (key, value, ordinality)
      ),
      ''
    ) || '}'
    when 'array' then '[' || coalesce(
      (
        select string_agg(identity_sync_private.spell_out(item.value), ', ' order by ordinality)
        from jsonb_array_elements(document) with ordinality as item (value, ordinality)
      ),
      ''
    ) || ']'
    else coalesce(
      identity_sync_private.printable(document)::text, btrim(to_char(document::numeric, '9.99999999999999eeee'))
    )
  end;
end;
$$;

revoke all on function identity_sync_private.spell_out(jsonb) from public;

comment on function identity_sync_private.spell_out(jsonb) is
  'Takes a JSON document; returns its text, in which a number beyond 1e100 or nearer to 0 than 1e-100 has an exponent and 15 digits.';
--! EndIncluded functions/wire/spell_out.sql
--! Included functions/wire/text_of.sql
-- The text of a field that is to be a string. A number may have eight bytes in jsonb and 131,072 digits as text, so
-- nothing but a string is ever made text; what is neither a string nor null comes back blank, which no field may be.
create or replace function identity_sync_private.text_of(value jsonb)
returns text
language sql immutable parallel safe
return case when jsonb_typeof(value) = 'string' then value #>> '{}' when value <> 'null' then '' end;

revoke all on function identity_sync_private.text_of(jsonb) from public;

comment on function identity_sync_private.text_of(jsonb) is
  'Takes a JSON value or NULL; returns the text of a string, NULL for null, a blank for all else.';
--! EndIncluded functions/wire/text_of.sql
--! Included functions/report/add_reports.sql
-- The step of the aggregate sum_reports, which makes a run's report the sum over its settlements by construction.
-- Numbers are summed key by key, nested objects in turn.
create or replace function identity_sync_private.add_reports(total jsonb, report jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if total is null or report is null then
    return coalesce(total, report);
  end if;
  return (
    select
      jsonb_object_agg(
        entry.key,
        case jsonb_typeof(entry.value)
          when 'object' then identity_sync_private.add_reports(total -> entry.key, entry.value)
          else to_jsonb((total ->> entry.key)::bigint + entry.value::bigint)
        end
      )
    from jsonb_each(report) as entry
  );
end;
$$;

revoke all on function identity_sync_private.add_reports(jsonb, jsonb) from public;

comment on function identity_sync_private.add_reports(jsonb, jsonb) is
  'Takes two reports of one shape; returns their sum, or the other one where one is NULL.';
--! EndIncluded functions/report/add_reports.sql

create aggregate identity_sync_private.sum_reports(jsonb) (
  sfunc = identity_sync_private.add_reports,
  stype = jsonb,
  parallel = safe
);

revoke all on function identity_sync_private.sum_reports(jsonb) from public;

comment on aggregate identity_sync_private.sum_reports(jsonb) is
  'Takes reports of one shape; returns the report whose every number is the sum over them, NULL over none.';

--! Included functions/report/contract_breaches.sql
-- Where LML broke its own contract in its answer for a batch: this goes to the log and to Sentry, since only LML can
-- mend it.
create or replace function identity_sync_private.contract_breaches(batch_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(skipped.key, skipped.value)
  from identity_sync.settlement
  cross join lateral jsonb_each(settlement.report -> 'rows_skipped') as skipped
  where settlement.settlement_id = (
      select max(latest.settlement_id) from identity_sync.settlement as latest
      where latest.batch_id = contract_breaches.batch_id
    )
    and skipped.key in ('invalid_verdict', 'lml_cardinality_mismatch', 'lml_untrusted_library_id')
    and skipped.value <> '0';
$$;

revoke all on function identity_sync_private.contract_breaches(bigint) from public;

comment on function identity_sync_private.contract_breaches(bigint) is
  'Takes an applied batch; returns the number of results that broke the wire contract by key of rows_skipped, NULL where none did.';
--! EndIncluded functions/report/contract_breaches.sql
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
--! Included functions/report/identity_dry_run_report.sql
-- The locked shape of a dry run's report, which scripts read. It renames keys of a report and leaves some out; a report
-- of verdicts from a file counts no calls.
create or replace function identity_sync.identity_dry_run_report(report jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'scanned', report -> 'scanned',
    'lml_total_calls', coalesce(report -> 'lml_total_calls', '0'),
    'lml_total_latency_ms', coalesce(report -> 'lml_total_latency_ms', '0'),
    'would_resolve', report -> 'rows_resolved',
    'would_resolve_compilation', report -> 'rows_resolved_compilation',
    'would_unresolved', report -> 'rows_unresolved',
    'would_skip', report -> 'rows_skipped',
    'source_rows_skipped_null_confidence', report -> 'source_rows_skipped_null_confidence'
  );
$$;

revoke all on function identity_sync.identity_dry_run_report(jsonb) from public;

comment on function identity_sync.identity_dry_run_report(jsonb) is
  'Takes a report of a run or of the writer; returns it in the locked shape of a dry run.';
--! EndIncluded functions/report/identity_dry_run_report.sql
--! Included functions/report/identity_run_progress.sql
-- How far a run is, cheap enough for a progress bar that polls several times a second.
create or replace function identity_sync.identity_run_progress(run_id bigint)
returns table (planned integer, done integer, finished_at timestamptz, trace_id text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    run.planned,
    (
      select coalesce(sum(cardinality(batch.library_ids)), 0)::integer
      from identity_sync.batch
      where batch.run_id = run.run_id and batch.is_done
    ),
    run.finished_at,
    run.trace_id
  from identity_sync.run
  where run.run_id = identity_run_progress.run_id;
$$;

revoke all on function identity_sync.identity_run_progress(bigint) from public;

comment on function identity_sync.identity_run_progress(bigint) is
  'Takes a run; returns the rows planned, the rows done so far (answered, quarantined or failed), when it ended, and its trace; no row for an unknown run.';
--! EndIncluded functions/report/identity_run_progress.sql
--! Included functions/report/identity_run_warnings.sql
-- What an operator should know of a run that failed in nothing: ids named that cannot be asked, and batches of
-- which most track entries, and at least ten, match no credit. Then credits were renamed or LML holds an older copy,
-- and links go missing silently.
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
  )
  select coalesce(jsonb_agg(warning.words), '[]')
  from (
    select words from unaskable
    union all
    select words from drifted
  ) as warning;
$$;

revoke all on function identity_sync_private.identity_run_warnings(bigint) from public;

comment on function identity_sync_private.identity_run_warnings(bigint) is
  'Takes a run; returns its warnings as a JSON array of texts, empty where there are none.';
--! EndIncluded functions/report/identity_run_warnings.sql
--! Included functions/report/identity_run_report.sql
-- The report of a run: the sum of its batches' settlements, so it counts recorded outcomes and nothing else. What is
-- left stays due: the rows of batches that are unfinished, were abandoned or failed. It grows while the run is open; a
-- finished run keeps it, and only the entries still in quarantine are counted again.
create or replace function identity_sync.identity_run_report(run_id bigint default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  select
    coalesce(
      run.report,
      (
        select identity_sync_private.sum_reports(settlement.report)
        from identity_sync.settlement
        where settlement.run_id = run.run_id and settlement.dry_run = run.dry_run
      ),
      identity_sync_private.empty_report()
    )
    || jsonb_build_object(
      'run_id', run.run_id,
      'scope', run.scope,
      'dry_run', run.dry_run,
      'started_at', run.started_at,
      'finished_at', run.finished_at,
      'outcome', run.outcome,
      'outcome_reason', run.outcome_reason,
      'planned', run.planned,
      'held_by_others', cardinality(run.in_other_runs),
      'held_ids', to_jsonb(run.in_other_runs[:100]),
      'held_by_runs', to_jsonb(run.held_by_runs),
      'paused_until', case when run.finished_at is null then run.paused_until end,
      'stop_cause', run.stop_cause
    )
    || case when run.report is not null then '{}' else (
      select
        jsonb_build_object(
          'left', coalesce(
            sum(cardinality(batch.library_ids))
              filter (where batch.state not in ('applied', 'empty', 'poisoned', 'split')),
            0
          ),
          'batches', count(*),
          'failed_batches', count(*) filter (where batch.state = 'failed')
        )
      from identity_sync.batch
      where batch.run_id = run.run_id
    ) end
    || case when run.report is not null then '{}' else (
      select
        jsonb_build_object(
          'lml_total_calls', count(*),
          'lml_total_latency_ms', coalesce(sum(lml_call.latency_ms), 0)
        )
      from identity_sync.lml_call
      join identity_sync.batch on batch.batch_id = lml_call.batch_id
      where batch.run_id = run.run_id
    ) end
    || case
      when run.report is not null then '{}'
      else jsonb_build_object('warnings', identity_sync_private.identity_run_warnings(run.run_id))
    end
    || (
      select jsonb_build_object('quarantined', count(*))
      from identity_sync.quarantined_verdict as entry
      join identity_sync.settlement on settlement.settlement_id = entry.settlement_id
      where settlement.run_id = run.run_id and entry.closed_at is null
    )
  into report
  from identity_sync.run
  where run.run_id = coalesce(
    identity_run_report.run_id, (select max(latest.run_id) from identity_sync.run as latest)
  );

  if report is null and identity_run_report.run_id is not null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no run %s', identity_run_report.run_id);
  end if;

  return report;
end;
$$;

revoke all on function identity_sync.identity_run_report(bigint) from public;

comment on function identity_sync.identity_run_report(bigint) is
  'Takes a run (NULL: the latest); returns its report with its outcome and the rows left; NULL where there never was a run. Raises LS002 for an unknown run.';
--! EndIncluded functions/report/identity_run_report.sql
--! Included functions/report/jsonb_shape.sql
-- The keys of an object and of the objects in it, as one sorted list: two reports can be added where their shapes are
-- equal.
create or replace function identity_sync_private.jsonb_shape(value jsonb)
returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select
    array_agg(
      case when inner_entry.key is null then entry.key else entry.key || '.' || inner_entry.key end
        || ':' || jsonb_typeof(coalesce(inner_entry.value, entry.value))
      order by entry.key, inner_entry.key
    )
  from jsonb_each(case when jsonb_typeof(value) = 'object' then value else '{}' end) as entry
  left join lateral jsonb_each(
    case when jsonb_typeof(entry.value) = 'object' then entry.value else '{}' end
  ) as inner_entry on true;
$$;

revoke all on function identity_sync_private.jsonb_shape(jsonb) from public;

comment on function identity_sync_private.jsonb_shape(jsonb) is
  'Takes an object of scalars and of objects of scalars; returns its keys with their types, sorted; NULL for an empty object or any other value.';
--! EndIncluded functions/report/jsonb_shape.sql
--! Included functions/report/refused_rows.sql
-- Counts the rows of a report that went wrong: with LML, its answer or the database. The other skipped rows were left
-- on purpose: an unvisited compilation, a row set by hand, a newer verdict, a library that is gone.
create or replace function identity_sync_private.refused_rows(report jsonb)
returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(skipped.value::integer), 0)::integer
  from jsonb_each_text(coalesce(report -> 'rows_skipped', report -> 'would_skip')) as skipped
  where skipped.key not in ('compilation', 'manual_precedence', 'stale_verdict', 'library_gone');
$$;

revoke all on function identity_sync_private.refused_rows(jsonb) from public;

comment on function identity_sync_private.refused_rows(jsonb) is
  'Takes a report, also one in the shape of a dry run; returns its number of refused rows.';
--! EndIncluded functions/report/refused_rows.sql
--! Included functions/report/report_adds_up.sql
-- The sum rule, for the check constraint of settlement: scanned is the requested ids plus the unrequested results, and
-- each of them has exactly one outcome. Identities written are the rows resolved. A report that lacks a key does not
-- add up.
create or replace function identity_sync_private.report_adds_up(report jsonb, requested integer, unrequested integer)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    identity_sync_private.jsonb_shape(report) = identity_sync_private.jsonb_shape(identity_sync_private.empty_report())
    and (report ->> 'scanned')::integer = requested + unrequested
    and (report ->> 'scanned')::integer
      = (report ->> 'rows_resolved')::integer
        + (report ->> 'rows_resolved_compilation')::integer
        + (report ->> 'rows_unresolved')::integer
        + (select sum(skipped.value::integer) from jsonb_each_text(report -> 'rows_skipped') as skipped)
    and (report ->> 'rows_resolved')::integer
      = (select sum(written.value::integer) from jsonb_each_text(report -> 'identity') as written),
    false
  );
$$;

revoke all on function identity_sync_private.report_adds_up(jsonb, integer, integer) from public;

comment on function identity_sync_private.report_adds_up(jsonb, integer, integer) is
  'Takes a report, the number of requested ids and of unrequested results; returns whether each of them is counted exactly once.';
--! EndIncluded functions/report/report_adds_up.sql
--! Included functions/report/report_is_success.sql
-- The one rule of success, for a run's outcome and for the exit status of `apply` and `replay`: no more rows were
-- refused than not. Rows left on purpose are not refused.
create or replace function identity_sync.report_is_success(report jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select 2 * identity_sync_private.refused_rows(report) <= (report ->> 'scanned')::integer;
$$;

revoke all on function identity_sync.report_is_success(jsonb) from public;

comment on function identity_sync.report_is_success(jsonb) is
  'Takes the report of a run, a writer or a dry run; returns false where more rows were refused than not.';
--! EndIncluded functions/report/report_is_success.sql
--! Included functions/judge/bare_verdict.sql
-- A verdict of which only the outcome is known: its content is not trusted, or none came.
create or replace function identity_sync_private.bare_verdict(ordinal integer, library_id integer, outcome text)
returns identity_sync_private.judged_verdict
language sql immutable parallel safe
return row(
  ordinal, library_id, outcome, null, null, null, null, null, null, null, null, null, 0, 0, 0, null, null, null
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.bare_verdict(integer, integer, text) from public;

comment on function identity_sync_private.bare_verdict(integer, integer, text) is
  'Takes the number of a result (NULL: none came), a library id and an outcome; returns a judged verdict without content.';
--! EndIncluded functions/judge/bare_verdict.sql
--! Included functions/judge/best_judged_sources.sql
-- Keeps the provenance entry of highest confidence of each source. Among equals the ids decide and not the order, so
-- that the same entries in another order write the same row.
-- The judge calls it only for a verdict that names a source twice, so that the others need no sorting.
create or replace function identity_sync_private.best_judged_sources(named identity_sync_private.judged_source[])
returns identity_sync_private.judged_source[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(best.entry order by best.position)
  from (
    select distinct on (listed.source)
      row(
        listed.source, listed.external_id, listed.method, listed.confidence, listed.out_of_band
      )::identity_sync_private.judged_source as entry,
      listed.position
    from unnest(best_judged_sources.named) with ordinality
      as listed (source, external_id, method, confidence, out_of_band, position)
    order by
      listed.source, listed.confidence desc,
      listed.external_id collate "C", listed.method collate "C", listed.position
  ) as best;
$$;

revoke all on function identity_sync_private.best_judged_sources(identity_sync_private.judged_source[]) from public;

comment on function identity_sync_private.best_judged_sources(identity_sync_private.judged_source[]) is
  'Takes the judged sources of one verdict; returns one a source, that of highest confidence.';
--! EndIncluded functions/judge/best_judged_sources.sql
--! Included functions/judge/best_judged_tracks.sql
-- Keeps the entry of highest confidence of each key, the first among equals, and a position that all entries agree on.
-- Discarded duplicates are not counted; each key counts once.
-- The judge calls it only for a release that names a key twice, so that the others need no sorting.
create or replace function identity_sync_private.best_judged_tracks(judged identity_sync_private.judged_track[])
returns identity_sync_private.judged_track[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with entry as (
    select *
    from unnest(best_judged_tracks.judged) with ordinality as listed (
      artist_name, track_title, resolved_artist_name, confidence, confidence_out_of_range,
      track_position, ambiguous_position, ordinal
    )
  ),
  best as (
    select distinct on (entry.artist_name, entry.track_title)
      entry.*,
      min(entry.track_position) over offers as first_position,
      max(entry.track_position) over offers as last_position
    from entry
    where entry.artist_name is not null
    window offers as (partition by entry.artist_name, entry.track_title)
    order by entry.artist_name, entry.track_title, entry.confidence desc nulls last, entry.ordinal
  ),
  kept as (
    select
      best.ordinal,
      row(
        best.artist_name,
        best.track_title,
        best.resolved_artist_name,
        best.confidence,
        best.confidence_out_of_range,
        case when best.first_position = best.last_position then best.first_position end,
        coalesce(best.first_position <> best.last_position, false)
      )::identity_sync_private.judged_track as track
    from best
    union all
    select entry.ordinal, row(null, null, null, null, null, null, null)::identity_sync_private.judged_track
    from entry
    where entry.artist_name is null
  )
  select array_agg(kept.track order by kept.ordinal)
  from kept;
$$;

revoke all on function identity_sync_private.best_judged_tracks(identity_sync_private.judged_track[]) from public;

comment on function identity_sync_private.best_judged_tracks(identity_sync_private.judged_track[]) is
  'Takes the judged tracks of one compilation; returns one a key, that of highest confidence, and each unusable one.';
--! EndIncluded functions/judge/best_judged_tracks.sql
--! Included functions/judge/describe_band.sql
-- Reads a method's band off is_in_band, in hundredths as the wire contract gives them, so that a refusal's words follow
-- the rule.
create or replace function identity_sync_private.describe_band(method text)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('%s to %s', min(step), max(step))
  from generate_series(0.00, 1.00, 0.01) as step
  where identity_sync_private.is_in_band(describe_band.method, step)
  having count(*) > 0;
$$;

revoke all on function identity_sync_private.describe_band(text) from public;

comment on function identity_sync_private.describe_band(text) is
  'Takes a method; returns its band in words, such as 0.60 to 0.79, NULL for an unknown method.';
--! EndIncluded functions/judge/describe_band.sql
--! Included functions/judge/describe_refusal.sql
-- Words a refusal for a person: which field, what it holds or that it is missing, and what is allowed.
-- A value is cut to 200 characters, because one string may have megabytes; one that is long as text, whatever its size
-- in jsonb, is said in words.
create or replace function identity_sync_private.describe_refusal(path text, value jsonb, allowed text)
returns identity_sync_private.refusal
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  shown text := case
    when value is null then 'missing'
    -- A string of many characters is cut before it is quoted.
    when jsonb_typeof(value) = 'string' then to_jsonb(left(value #>> '{}', 201))::text
    when jsonb_typeof(value) = 'number' then case
      when abs(value::numeric) < 1e1000 and scale(value::numeric) < 1000 then value::text
    end
    when pg_column_size(value) <= 1000 then identity_sync_private.printable(value)::text
  end;
  kept jsonb := value;
begin
  if shown is null then
    shown := case jsonb_typeof(value)
      when 'array' then format('an array of %s elements', jsonb_array_length(value))
      when 'object' then format('an object of %s fields', (select count(*) from jsonb_object_keys(value)))
      else 'a number of very many digits'
    end;
    kept := to_jsonb(shown);
  elsif char_length(shown) > 200 then
    shown := left(shown, 200) || '…';
    kept := to_jsonb(shown);
  end if;
  return row(
    path, kept, format('%s is %s; allowed: %s', coalesce(nullif(path, ''), 'the verdict'), shown, allowed)
  )::identity_sync_private.refusal;
end;
$$;

revoke all on function identity_sync_private.describe_refusal(text, jsonb, text) from public;

comment on function identity_sync_private.describe_refusal(text, jsonb, text) is
  'Takes a field''s path, its value (NULL: missing) and what is allowed; returns the refusal in words, the value cut to 200 characters.';
--! EndIncluded functions/judge/describe_refusal.sql
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
  method_list constant text := array_to_string(identity_sync_private.methods(), ', ');
  source_list constant text := array_to_string(identity_sync_private.sources(), ', ');
  -- Enough to tell what it is: a text may have megabytes.
  kind constant text := left(identity_sync_private.text_of(verdict -> 'kind'), 100);
  method constant text := identity_sync_private.text_of(verdict -> 'method');
  -- A field that is null or missing: the wire takes both for one state.
  has_method constant boolean := coalesce(verdict -> 'method', 'null') <> 'null';
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
            when 'single_artist' then coalesce(identity_sync_private.is_method(method), false)
            else coalesce(identity_sync_private.is_method(method), not has_method)
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
      identity_sync_private.source_bit(identity_sync_private.text_of(listed.entry -> 'source')) as source_bit,
      identity_sync_private.text_of(listed.entry -> 'method') as method,
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
      (2, '.source', leg.entry -> 'source', source_list, leg.source_bit is not null),
      (
        3, '.method', leg.entry -> 'method', method_list,
        coalesce(identity_sync_private.is_method(leg.method), leg.has_no_confidence)
      ),
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
--! Included functions/judge/mark_repeated.sql
-- Trusts the first of several verdicts on one library: the others become lml_untrusted_library_id.
-- The judge calls it only for an answer that repeats an id.
create or replace function identity_sync_private.mark_repeated(judged identity_sync_private.judged_verdict[])
returns identity_sync_private.judged_verdict[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    array_agg(
      case
        when ranked.position = 1 or ranked.library_id is null then ranked.verdict
        else identity_sync_private.bare_verdict(ranked.ordinal, ranked.library_id, 'lml_untrusted_library_id')
      end
      order by ranked.ordinal
    )
  from (
    select
      verdict,
      verdict.ordinal,
      verdict.library_id,
      row_number() over (partition by verdict.library_id order by verdict.ordinal) as position
    from unnest(judged) as verdict
  ) as ranked;
$$;

revoke all on function identity_sync_private.mark_repeated(identity_sync_private.judged_verdict[]) from public;

comment on function identity_sync_private.mark_repeated(identity_sync_private.judged_verdict[]) is
  'Takes the judged verdicts of one answer; returns them with every repetition of an id distrusted.';
--! EndIncluded functions/judge/mark_repeated.sql
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
        null, null, null
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
              and identity_sync_private.is_method(field.method)
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
            then field.main is null and coalesce(identity_sync_private.is_method(field.method), true)
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
          leg.source_bit is not null
            and case
              when leg.in_band is not null
              then leg.external_id is not null
                and identity_sync_private.is_identifier_or_null(leg.external_id)
              when leg.has_no_confidence
              then leg.external_id is null and coalesce(identity_sync_private.is_method(leg.method), true)
            end,
          false
        )) as has_valid_legs,
        array_agg(
          row(
            leg.source, leg.external_id, leg.method, leg.confidence::real, not leg.in_band
          )::identity_sync_private.judged_source
        ) filter (where leg.confidence is not null) as named,
        sum(leg.source_bit) filter (where leg.confidence is not null)
          <> bit_or(leg.source_bit) filter (where leg.confidence is not null) as has_duplicate,
        count(*) filter (where leg.has_no_confidence) as null_confidence,
        count(*) filter (where not leg.in_band) as out_of_band
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
--! Included functions/judge/judge_tracks.sql
-- Judges each track entry of a compilation on its own, and keeps one entry a key: what a credit can be linked by.
-- An unusable entry comes back without an artist_name, so that it is counted and costs none of its neighbours.
-- It is no object, has a field of the wrong type or a blank credit, or a name or title longer than its column.
create or replace function identity_sync_private.judge_tracks(tracks jsonb)
returns identity_sync_private.judged_track[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  judged identity_sync_private.judged_track[];
  keys integer;
  usable integer;
begin
  select
    array_agg(
      case
        when entry.is_usable
        then row(
          entry.artist_name,
          entry.track_title,
          case when identity_sync_private.has_text(entry.resolved_artist_name) then entry.resolved_artist_name end,
          entry.confidence,
          entry.confidence is null and entry.stated_confidence <> 'null',
          case when identity_sync_private.has_text(entry.track_position) then entry.track_position end,
          false
        )::identity_sync_private.judged_track
        else row(null, null, null, null, null, null, null)::identity_sync_private.judged_track
      end
      order by entry.ordinal
    ),
    count(*) filter (where entry.is_usable),
    -- A hash may take two keys for one, never one for two: the exact and slower look is for those rare cases.
    count(distinct hashtextextended(coalesce(entry.track_title, ''), hashtextextended(entry.artist_name, 0)))
      filter (where entry.is_usable)
  into judged, usable, keys
  from (
    select
      field.*,
      identity_sync_private.read_confidence(field.stated_confidence)::real as confidence,
      coalesce(
        jsonb_typeof(field.entry -> 'artist_name') = 'string'
        and char_length(field.artist_name) <= 255
        and identity_sync_private.has_text(field.artist_name)
        and (
          field.track_title is null
          or (jsonb_typeof(field.entry -> 'track_title') = 'string' and char_length(field.track_title) <= 255)
        )
        and (
          field.resolved_artist_name is null
          or (
            jsonb_typeof(field.entry -> 'resolved_artist_name') = 'string'
            and char_length(field.resolved_artist_name) <= 255
          )
        )
        and (field.track_position is null or jsonb_typeof(field.entry -> 'track_position') = 'string')
        and coalesce(jsonb_typeof(field.stated_confidence) in ('number', 'null'), true),
        false
      ) as is_usable
    from (
      select
        listed.entry,
        listed.ordinal,
        identity_sync_private.text_of(listed.entry -> 'artist_name') as artist_name,
        identity_sync_private.text_of(listed.entry -> 'track_title') as track_title,
        identity_sync_private.text_of(listed.entry -> 'resolved_artist_name') as resolved_artist_name,
        identity_sync_private.text_of(listed.entry -> 'track_position') as track_position,
        listed.entry -> 'confidence' as stated_confidence
      from jsonb_array_elements(nullif(judge_tracks.tracks, 'null')) with ordinality as listed (entry, ordinal)
      offset 0
    ) as field
    offset 0
  ) as entry;

  return case when keys = usable then judged else identity_sync_private.best_judged_tracks(judged) end;
end;
$$;

revoke all on function identity_sync_private.judge_tracks(jsonb) from public;

comment on function identity_sync_private.judge_tracks(jsonb) is
  'Takes the track entries of a compilation, a JSON array or null; returns one judged track a key, and one without an artist_name for each entry that is unusable.';
--! EndIncluded functions/judge/judge_tracks.sql
--! Included functions/candidates/check_argument.sql
-- Refuses an argument in the words that every public function shares: which one, its value and what is allowed.
create or replace function identity_sync_private.check_argument(
  argument text,
  value text,
  is_allowed boolean,
  allowed text
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if is_allowed is not true then
    raise exception using
      errcode = 'LS001',
      message = format('%s is %s', argument, coalesce(value, 'NULL')),
      hint = format('Allowed: %s.', allowed);
  end if;
end;
$$;

revoke all on function identity_sync_private.check_argument(text, text, boolean, text) from public;

comment on function identity_sync_private.check_argument(text, text, boolean, text) is
  'Takes an argument''s name, its value as text, whether it is allowed and what is; raises LS001 unless it is allowed.';
--! EndIncluded functions/candidates/check_argument.sql
--! Included functions/candidates/check_range.sql
-- Refuses an integer outside its range. The words are made of the bounds, so that they cannot differ from the check.
create or replace function identity_sync_private.check_range(
  argument text,
  value integer,
  low integer,
  high integer,
  unit text
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.check_argument(
    argument,
    value::text,
    value >= low and value <= coalesce(high, value),
    format('%s %s', concat_ws(' to ', low, high), unit)
  );
end;
$$;

revoke all on function identity_sync_private.check_range(text, integer, integer, integer, text) from public;

comment on function identity_sync_private.check_range(text, integer, integer, integer, text) is
  'Takes an argument''s name and value, its bounds (high NULL: none) and what it counts; raises LS001 where the value is NULL or out of bounds.';
--! EndIncluded functions/candidates/check_range.sql
--! Included functions/candidates/cohort_of.sql
-- A library row is compilation-shaped where its shelf letters begin with Z or compilation_track_artist credits it.
-- LML answers such rows at length, so their batches are smaller.
create or replace function identity_sync_private.cohort_of(code_volume_letters text, has_credits boolean)
returns text
language sql immutable parallel safe
return case when coalesce(code_volume_letters, '') like 'Z%' or has_credits then 'va' else 'non_va' end;

revoke all on function identity_sync_private.cohort_of(text, boolean) from public;

comment on function identity_sync_private.cohort_of(text, boolean) is
  'Takes a library row''s code_volume_letters and whether it has credits; returns va for compilation-shaped, else non_va.';
--! EndIncluded functions/candidates/cohort_of.sql
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
    or (
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
--! Included functions/candidates/validate_selection.sql
-- Refuses the parameters of a selection that are out of range. Selecting and planning share it, so that a run opens
-- only for what identity_candidates takes. A calendar ends: three million days ago is no time that PostgreSQL holds.
create or replace function identity_sync_private.validate_selection(
  scope text,
  stale_days integer,
  unresolved_retry_days integer,
  partition_index integer,
  partition_count integer,
  ids integer[]
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.check_argument(
    'scope', quote_literal(scope), scope in ('due', 'refresh', 'recheck', 'ids'), 'due, refresh, recheck, ids'
  );
  if scope = 'ids' and ids is null then
    raise exception using
      errcode = 'LS001',
      message = 'scope is ids, and ids is NULL',
      hint = 'Name the library ids: ids => array[1, 2, 3].';
  end if;
  perform identity_sync_private.check_range('stale_days', stale_days, 0, 1000000, 'days');
  perform identity_sync_private.check_range('unresolved_retry_days', unresolved_retry_days, 0, 1000000, 'days');
  perform identity_sync_private.check_argument(
    'partition',
    format('%s/%s', coalesce(partition_index::text, 'NULL'), coalesce(partition_count::text, 'NULL')),
    partition_count between 1 and 1024 and partition_index between 0 and partition_count - 1,
    '0 <= partition_index < partition_count <= 1024'
  );
end;
$$;

revoke all on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[])
from public;

comment on function identity_sync_private.validate_selection(text, integer, integer, integer, integer, integer[]) is
  'Takes the parameters of identity_candidates; raises LS001 for the first that is out of range.';
--! EndIncluded functions/candidates/validate_selection.sql
--! Included functions/candidates/identity_candidates.sql
-- Lists the rows that a run would ask LML for, with the cohort that decides the size of their batch.
-- A row with a blank artist name is left out, because LML would refuse its whole batch; a released row is always due.
-- A row that a run has settled is not due again before its time.
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
    and identity_sync_private.has_name(candidate.artist_name);
end;
$$;

revoke all on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[])
from public;

comment on function identity_sync.identity_candidates(text, integer, integer, boolean, integer, integer, integer[]) is
  'Takes a scope (due, refresh, recheck, ids), the days after which an identity is stale and an attempt is repeated, whether rows without a canonical entity count, a partition (id % count = index) and ids to narrow it to; returns the rows a run would ask for and their cohort (va: compilation-shaped, non_va). Raises LS001 for a value out of range.';
--! EndIncluded functions/candidates/identity_candidates.sql
--! Included functions/write/add_write_results.sql
-- Two shares of a batch as one: lists are joined, counts are summed.
-- NULL stands for a share of which nothing was written, so that two of them make the empty result.
create or replace function identity_sync_private.add_write_results(
  earlier identity_sync_private.write_result,
  later identity_sync_private.write_result
)
returns identity_sync_private.write_result
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    coalesce(earlier.verdicts, '{}') || later.verdicts,
    coalesce(earlier.history_ids, '{}') || later.history_ids,
    coalesce(earlier.source_inserted, 0) + coalesce(later.source_inserted, 0),
    coalesce(earlier.source_changed, 0) + coalesce(later.source_changed, 0),
    coalesce(earlier.source_unchanged, 0) + coalesce(later.source_unchanged, 0),
    coalesce(earlier.source_removed, 0) + coalesce(later.source_removed, 0),
    coalesce(earlier.linked_credit_ids, '{}') || later.linked_credit_ids,
    coalesce(earlier.positioned_credit_ids, '{}') || later.positioned_credit_ids,
    identity_sync_private.add_reports(
      coalesce(earlier.compilation_track, identity_sync_private.empty_report() -> 'compilation_track'),
      later.compilation_track
    )
  )::identity_sync_private.write_result;
$$;

revoke all on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) from public;

comment on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) is
  'Takes the results of writing two shares of a batch, either NULL; returns them as one.';
--! EndIncluded functions/write/add_write_results.sql
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
    coalesce(sum(verdict.out_of_band) filter (where verdict.outcome = 'resolved'), 0) as out_of_band
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
--! Included functions/write/lock_identities.sql
-- Makes sessions that write the same libraries wait for one another, until the transaction ends, so that they neither
-- deadlock nor lose a history row. A row of library_lock is deleted as soon as it is inserted: its exclusion constraint
-- makes others wait for this transaction, and afterwards nothing is left of it. All libraries are taken at once and
-- without a place in the lock table, so that their number has no limit and neighbours do not wait.
create or replace function identity_sync_private.lock_identities(library_ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  taken tid;
begin
  -- "on conflict" never keeps a row of its own while it waits, so that two sessions cannot wait for each other.
  insert into identity_sync.library_lock (library_ids)
  -- The last integer of all has no range of its own, and shares that of the one before.
  select range_agg(int4range(least(listed.library_id, 2147483646), least(listed.library_id, 2147483646), '[]'))
  from unnest(lock_identities.library_ids) as listed (library_id)
  where listed.library_id is not null
  having count(*) > 0
  on conflict do nothing
  returning ctid
  into taken;

  delete from identity_sync.library_lock
  where library_lock.ctid = taken;
exception
  when lock_not_available then
    raise exception using
      errcode = 'lock_not_available',
      message = 'another session is writing some of these libraries',
      detail = format(
        'Sessions that are writing libraries: %s.',
        coalesce(
          (
            select string_agg(distinct pg_locks.pid::text, ', ')
            from pg_locks
            join pg_database on pg_database.oid = pg_locks.database and pg_database.datname = current_database()
            where pg_locks.relation = 'identity_sync.library_lock'::regclass
              and pg_locks.mode = 'RowExclusiveLock'
              and pg_locks.pid <> pg_backend_pid()
          ),
          'none any more'
        )
      ),
      hint = 'Try again once it has committed; pg_stat_activity shows what it does.';
end;
$$;

revoke all on function identity_sync_private.lock_identities(integer[]) from public;

comment on function identity_sync_private.lock_identities(integer[]) is
  'Takes library ids; holds them, until the transaction ends, against every other session that writes identities. Raises 55P03 where another holds one of them for longer than lock_timeout.';
--! EndIncluded functions/write/lock_identities.sql
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
  action, version, refusal
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) from public;

comment on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) is
  'Takes a judged verdict, its final outcome, the action on its main row (inserted, changed, unchanged), the version of that row which was looked at, and why the database refused it; returns the verdict with these.';
--! EndIncluded functions/write/conclude_verdict.sql
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
  judged constant text[] := writing || array['unresolved', 'compilation', 'invalid_verdict'];
  ids integer[];
  other_ids integer[];
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
  if cardinality(overtaken_ids) = 0 then
    return verdicts;
  end if;

  return array(
    select
      case
        when overtaken.library_id is null then verdict
        else identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
      end
    from unnest(verdicts) as verdict
    left join unnest(overtaken_ids) as overtaken (library_id)
      on overtaken.library_id = verdict.library_id and verdict.outcome = any (judged)
  );
end;
$$;

revoke all on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) from public;

comment on function identity_sync_private.mark_overtaken(
  identity_sync_private.judged_verdict[], timestamptz
) is
  'Takes the service''s judged verdicts and their time; returns them, those that are overtaken as stale_verdict.';
--! EndIncluded functions/write/mark_overtaken.sql
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
    quarantine_verdicts.settlement_id, replayed.first_settlement_id, refused.library_id, refused.outcome,
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
  -- The entry of which this transaction's replay is refused again.
  left join lateral (
    select coalesce(entry.first_settlement_id, entry.settlement_id) as first_settlement_id
    from identity_sync.quarantined_verdict as entry
    where entry.closed_reason = 'replayed'
      and entry.closed_at >= transaction_timestamp()
      and entry.verified_at = quarantine_verdicts.verified_at
      and entry.origin = quarantine_verdicts.origin
      and (entry.library_id = refused.library_id or (entry.library_id is null and refused.library_id is null))
    limit 1
  ) as replayed on true
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
      -- Its tracks were visited or not: either way LML has no more to say before the retry window is over.
      case verdict.outcome when 'resolved_compilation' then 'compilation' else verdict.outcome end,
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
-- Records one call of the writer: what it reported, what undoing it needs, and the sample that the brake is measured
-- on. The sample is of rows that held an identity or were never asked before.
create or replace function identity_sync_private.record_settlement(
  settlement_id bigint,
  origin text,
  verified_at timestamptz,
  requested_ids integer[],
  attempted_ids integer[],
  written identity_sync_private.write_result,
  report jsonb
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  scanned constant integer := cardinality(written.verdicts);
begin
  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, brake_sample, brake_unresolved_ids
  )
  overriding system value
  select
    record_settlement.settlement_id, record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report,
    coalesce(array_agg(verdict.library_id) filter (where verdict.action = 'inserted'), '{}'),
    written.history_ids, written.linked_credit_ids, written.positioned_credit_ids,
    count(*) filter (where sample.is_in),
    coalesce(array_agg(verdict.library_id) filter (where sample.is_in and verdict.outcome = 'unresolved'), '{}')
  from unnest(written.verdicts) as verdict
  left join unnest(attempted_ids) as attempted (library_id) on attempted.library_id = verdict.library_id
  cross join lateral (
    select
      attempted.library_id is null
      and verdict.outcome in ('resolved', 'resolved_compilation', 'compilation', 'unresolved') as is_in
  ) as sample;
end;
$$;

revoke all on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], integer[], identity_sync_private.write_result, jsonb
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), those with an attempt and no identity before, what was written, and the report; records them.';
--! EndIncluded functions/write/record_settlement.sql
--! Included functions/write/validate_application.sql
-- Refuses arguments of apply_identity_verdicts before anything is looked at.
-- An origin is what consumers of the tables go by, so there are two kinds and no third. A time ahead of the clock would
-- keep the row from ever being due again.
create or replace function identity_sync_private.validate_application(
  origin text,
  verified_at timestamptz,
  strict_bands boolean
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not identity_sync_private.is_repair(origin) and origin <> identity_sync_private.service_origin() then
    raise exception using
      errcode = 'LS001',
      message = format('origin is %L', origin),
      hint = format(
        'Allowed: %s for the service, a text that begins with %s for a repair by hand, NULL for %2$s and your login.',
        identity_sync_private.service_origin(), identity_sync_private.repair_origin('')
      );
  end if;
  if verified_at is null then
    raise exception using
      errcode = 'LS001',
      message = 'verified_at is NULL',
      hint = 'Name the time at which LML gave the answer, or leave it out for now.';
  end if;
  if not isfinite(verified_at) or verified_at > clock_timestamp() + interval '1 minute' then
    raise exception using
      errcode = 'LS001',
      message = format('verified_at is %s', verified_at),
      hint = 'Allowed: a time in the past, or at most one minute ahead of the database''s clock.';
  end if;
  if strict_bands is null then
    raise exception using errcode = 'LS001', message = 'strict_bands is NULL', hint = 'Allowed: true, false.';
  end if;
end;
$$;

revoke all on function identity_sync_private.validate_application(text, timestamptz, boolean) from public;

comment on function identity_sync_private.validate_application(text, timestamptz, boolean) is
  'Takes the origin, time and strictness of a call of apply_identity_verdicts; raises LS001 for the first that is not allowed.';
--! EndIncluded functions/write/validate_application.sql
--! Included functions/write/assert_row_count.sql
-- Raises LS006 if a statement touched a different number of rows than intended: another writer, who takes no lock of
-- ours, or a trigger interfered. Nothing of the statement stays.
create or replace function identity_sync_private.assert_row_count(what text, meant integer, touched integer)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if touched <> meant then
    raise exception using
      errcode = 'LS006',
      message = format('%s: %s of %s rows, somebody else or a trigger was in the way', what, touched, meant);
  end if;
end;
$$;

revoke all on function identity_sync_private.assert_row_count(text, integer, integer) from public;

comment on function identity_sync_private.assert_row_count(text, integer, integer) is
  'Takes what a statement did, the rows it was meant for and the rows it touched; raises LS006 where they differ.';
--! EndIncluded functions/write/assert_row_count.sql
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
    where known.library_id = any (array(select verdict.library_id from unnest(verdicts) as verdict))
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
        when laid.known_method = 'librarian' then 'librarian'
        when laid.resolved_artist_name is null and laid.known_method = 'lml_backfill' then 'unlinked'
        when laid.resolved_artist_name is null then 'no_resolved_name'
        when laid.known_method is distinct from compare_track_links.link_method
          or laid.known_artist_id is distinct from laid.artist_id
          or laid.known_confidence is distinct from laid.confidence
          or laid.new_position is not null
        then 'written'
        else 'unchanged'
      end as fate,
      num_nonnulls(laid.known_artist_id, laid.known_confidence, laid.known_method) = 0 as is_first
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
        reached.new_position
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
  left join identity_sync.attempt on attempt.library_id = verdict.library_id and attempt.outcome = 'compilation'
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
--! Included functions/write/compare_identities.sql
-- Lays judged verdicts beside their main rows and decides what becomes of each, writing nothing: a row set by hand or
-- verified later takes precedence. A repair changes a row that no hand has set yet even where it says the same, because
-- only then does the row hold. Every verdict comes back once, with its final outcome.
create or replace function identity_sync_private.compare_identities(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz,
  is_repair boolean
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  ids constant integer[] := array(select verdict.library_id from unnest(verdicts) as verdict);
begin
  -- A first run's batches are new as a whole, and there is nothing to compare them with.
  if not exists (select from wxyc_schema.library_identity as known where known.library_id = any (ids)) then
    return array(
      select identity_sync_private.conclude_verdict(verdict, 'resolved', 'inserted')
      from unnest(verdicts) as verdict
    );
  end if;

  return array(
    select
      identity_sync_private.conclude_verdict(
        verdict,
        case when compared.fate in ('manual_precedence', 'stale_verdict') then compared.fate else 'resolved' end,
        case when compared.fate in ('inserted', 'changed', 'unchanged') then compared.fate end,
        -- A row that says the same is touched only where it was verified before, or at an unknown time.
        case
          when compared.fate = 'changed' then known.ctid
          when compared.fate = 'unchanged'
            and (
              known.last_verified_at < compare_identities.verified_at
              or not identity_sync_private.is_plausible_time(known.last_verified_at)
            )
          then known.ctid
        end
      )
    from unnest(verdicts) as verdict
    left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
    cross join lateral (
      select
        case
          when known.library_id is null then 'inserted'
          when not is_repair and identity_sync_private.is_set_by_hand(known.method, known.notes)
          then 'manual_precedence'
          when is_repair and identity_sync_private.is_set_by_hand(known.method, known.notes) is not true then 'changed'
          when not is_repair
            and known.last_verified_at > compare_identities.verified_at
            and identity_sync_private.is_plausible_time(known.last_verified_at)
          then 'stale_verdict'
          when known.discogs_artist_id is distinct from verdict.discogs_artist_id
            or known.musicbrainz_artist_id is distinct from verdict.musicbrainz_artist_id
            or known.wikidata_qid is distinct from verdict.wikidata_qid
            or known.spotify_id is distinct from verdict.spotify_id
            or known.apple_music_id is distinct from verdict.apple_music_id
            or known.bandcamp_id is distinct from verdict.bandcamp_id
            or known.method is distinct from verdict.method
            or known.confidence is distinct from verdict.confidence
          then 'changed'
          else 'unchanged'
        end as fate
      -- The fence: without it the planner repeats the comparison wherever the fate is used.
      offset 0
    ) as compared
  );
end;
$$;

revoke all on function identity_sync_private.compare_identities(
  identity_sync_private.judged_verdict[], timestamptz, boolean
) from public;

comment on function identity_sync_private.compare_identities(
  identity_sync_private.judged_verdict[], timestamptz, boolean
) is
  'Takes judged single_artist verdicts, their time and whether a repair by hand brings them; returns them with outcome (resolved, manual_precedence, stale_verdict), action and version.';
--! EndIncluded functions/write/compare_identities.sql
--! Included functions/write/compare_sources.sql
-- Lays the sources of written identities beside the source rows that are there and finds what each changes, writing
-- nothing. A row of ours that the verdict no longer names goes, another writer's stays. New identities have no source
-- rows to be compared with, unless another writer has left some.
create or replace function identity_sync_private.compare_sources(identities identity_sync_private.judged_verdict[])
returns identity_sync_private.compared_sources
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  compared identity_sync_private.compared_sources := row(0, null, 0, 0, 0, 0);
  actions text[] := array['changed', 'unchanged'];
  new_ids integer[];
  ids integer[];
begin
  select
    coalesce(array_agg(identity.library_id) filter (where identity.action = 'inserted'), '{}'),
    coalesce(sum(cardinality(identity.sources)) filter (where identity.action = 'inserted'), 0),
    coalesce(array_agg(identity.library_id) filter (where identity.action in ('changed', 'unchanged')), '{}')
  into new_ids, compared.uncompared, ids
  from unnest(identities) as identity;

  if cardinality(new_ids) > 0
    and exists (select from wxyc_schema.library_identity_source as stored where stored.library_id = any (new_ids))
  then
    actions := actions || 'inserted'::text;
    ids := ids || new_ids;
    compared.uncompared := 0;
  end if;
  if cardinality(ids) = 0 then
    return compared;
  end if;

  select
    array_agg(
      row(
        laid.library_id, laid.source, laid.external_id, laid.method, laid.confidence, laid.action, laid.version,
        laid.is_of_new_identity
      )::identity_sync_private.source_change
    ) filter (where laid.action in ('inserted', 'changed', 'removed')),
    count(*) filter (where laid.action = 'inserted'),
    count(*) filter (where laid.action = 'changed'),
    count(*) filter (where laid.action = 'unchanged'),
    count(*) filter (where laid.action = 'removed')
  into compared.changes, compared.inserted, compared.changed, compared.unchanged, compared.removed
  from (
    select
      coalesce(named.library_id, stored.library_id) as library_id,
      coalesce(named.source, stored.source) as source,
      named.external_id,
      named.method,
      named.confidence,
      stored.version,
      named.is_of_new_identity,
      case
        when stored.library_id is null then 'inserted'
        when named.library_id is null and identity_sync_private.is_ours(stored.notes) then 'removed'
        when named.library_id is null then 'kept'
        when named.external_id is distinct from stored.external_id
          or named.method is distinct from stored.method
          or named.confidence is distinct from stored.confidence
        then 'changed'
        else 'unchanged'
      end as action
    from (
      select
        identity.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
        identity.action = 'inserted' as is_of_new_identity
      from unnest(identities) as identity
      cross join lateral unnest(identity.sources) as judged
      where identity.action = any (actions)
    ) as named
    full join (
      select
        existing.library_id, existing.source, existing.external_id, existing.method, existing.confidence,
        existing.notes, existing.ctid as version
      from wxyc_schema.library_identity_source as existing
      where existing.library_id = any (ids)
    ) as stored on stored.library_id = named.library_id and stored.source = named.source
    offset 0
  ) as laid;

  return compared;
end;
$$;

revoke all on function identity_sync_private.compare_sources(identity_sync_private.judged_verdict[]) from public;

comment on function identity_sync_private.compare_sources(identity_sync_private.judged_verdict[]) is
  'Takes compared verdicts; returns the changes to their source rows and how many there are of each kind.';
--! EndIncluded functions/write/compare_sources.sql
--! Included functions/write/archive_identities.sql
-- Copies main rows, as they are, into library_identity_history, in id order, before they are changed or removed.
-- A library without a main row leaves none.
create or replace function identity_sync_private.archive_identities(library_ids integer[], reason text, category text)
returns integer[]
language sql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  with superseded as (
    insert into wxyc_schema.library_identity_history (
      library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
      musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
      agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id,
      superseded_reason, reason_category
    )
    select
      known.library_id, known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
      known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.wikidata_qid, known.spotify_id,
      known.apple_music_id, known.last_verified_at, known.method, known.confidence,
      known.agreement_sources, known.notes, known.discogs_artist_id, known.musicbrainz_artist_id, known.bandcamp_id,
      archive_identities.reason, archive_identities.category
    from wxyc_schema.library_identity as known
    where known.library_id = any (archive_identities.library_ids)
    order by known.library_id
    returning history_id
  )
  select coalesce(array_agg(superseded.history_id), '{}')
  from superseded;
$$;

revoke all on function identity_sync_private.archive_identities(integer[], text, text) from public;

comment on function identity_sync_private.archive_identities(integer[], text, text) is
  'Takes library ids, why their main rows are about to change, and a category (verdict, repair, release, undo); returns the history rows written.';
--! EndIncluded functions/write/archive_identities.sql
--! Included functions/write/write_identities.sql
-- Writes compared identities, one statement a kind of change, and none where nothing changes. Columns of other writers
-- are never named; a row goes to the history before it changes. Each statement must touch the very rows compared.
create or replace function identity_sync_private.write_identities(
  identities identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  reason text
)
returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Plans must not be made for the empty tables of a first run: every access is by primary key, a few hundred at a time.
set enable_seqscan = off
as $$
declare
  inserted integer;
  changed_ids integer[];
  confirmed_ids integer[];
  confirmed_versions tid[];
  history_ids integer[] := '{}'::integer[];
  touched integer;
begin
  select
    count(*) filter (where identity.action = 'inserted'),
    array_agg(identity.library_id) filter (where identity.action = 'changed'),
    array_agg(identity.library_id) filter (where identity.action = 'unchanged' and identity.version is not null),
    array_agg(identity.version) filter (where identity.action = 'unchanged' and identity.version is not null)
  into inserted, changed_ids, confirmed_ids, confirmed_versions
  from unnest(identities) as identity;

  if inserted > 0 then
    insert into wxyc_schema.library_identity (
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes
    )
    select
      identity.library_id, identity.discogs_artist_id, identity.musicbrainz_artist_id, identity.wikidata_qid,
      identity.spotify_id, identity.apple_music_id, identity.bandcamp_id,
      identity.method, identity.confidence, write_identities.verified_at, write_identities.origin
    from unnest(identities) as identity
    where identity.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities inserted', inserted, touched);
  end if;

  if changed_ids is not null then
    history_ids := identity_sync_private.archive_identities(
      changed_ids, reason, case when identity_sync_private.is_repair(origin) then 'repair' else 'verdict' end
    );
    perform identity_sync_private.assert_row_count(
      'identities kept in history', cardinality(changed_ids), cardinality(history_ids)
    );

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.library_identity as known
    set
      discogs_artist_id = identity.discogs_artist_id,
      musicbrainz_artist_id = identity.musicbrainz_artist_id,
      wikidata_qid = identity.wikidata_qid,
      spotify_id = identity.spotify_id,
      apple_music_id = identity.apple_music_id,
      bandcamp_id = identity.bandcamp_id,
      method = identity.method,
      confidence = identity.confidence,
      last_verified_at = write_identities.verified_at,
      notes = write_identities.origin
    from unnest(identities) as identity
    where identity.action = 'changed'
      and known.library_id = identity.library_id
      and (known.ctid = identity.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities changed', cardinality(changed_ids), touched);
  end if;

  -- Nearly all rows of nearly all batches, so they come as two slim lists.
  if confirmed_ids is not null then
    update wxyc_schema.library_identity as known
    set last_verified_at = write_identities.verified_at
    from unnest(confirmed_ids, confirmed_versions) as seen (library_id, version)
    where known.library_id = seen.library_id and (known.ctid = seen.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('identities confirmed', cardinality(confirmed_ids), touched);
  end if;

  return history_ids;
end;
$$;

revoke all on function identity_sync_private.write_identities(
  identity_sync_private.judged_verdict[], text, timestamptz, text
) from public;

comment on function identity_sync_private.write_identities(
  identity_sync_private.judged_verdict[], text, timestamptz, text
) is
  'Takes compared verdicts with their origin, time and the reason for the history; writes their main rows and returns the history rows. Raises LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_identities.sql
--! Included functions/write/archive_sources.sql
-- Copies source rows, as they are, into superseded_source before they are changed or removed.
create or replace function identity_sync_private.archive_sources(
  changes identity_sync_private.source_change[],
  settlement_id bigint,
  reason text
)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  archived integer;
begin
  insert into identity_sync.superseded_source (
    settlement_id, library_id, source, action,
    external_id, method, confidence, last_verified_at, boost_sources, notes, superseded_reason
  )
  select
    archive_sources.settlement_id, known.library_id, known.source, change.action,
    known.external_id, known.method, known.confidence, known.last_verified_at, known.boost_sources, known.notes,
    archive_sources.reason
  from unnest(changes) as change
  join wxyc_schema.library_identity_source as known
    on known.library_id = change.library_id and known.source = change.source
  where change.action in ('changed', 'removed');
  get diagnostics archived = row_count;
  return archived;
end;
$$;

revoke all on function identity_sync_private.archive_sources(
  identity_sync_private.source_change[], bigint, text
) from public;

comment on function identity_sync_private.archive_sources(identity_sync_private.source_change[], bigint, text) is
  'Takes changes to source rows, the settlement that makes them and why; returns how many rows it copied.';
--! EndIncluded functions/write/archive_sources.sql
--! Included functions/write/write_sources.sql
-- Writes the sources of written identities, one statement a kind of change, and none where nothing changes. What is
-- changed or removed is kept as it was. Each statement must touch the very rows compared.
create or replace function identity_sync_private.write_sources(
  identities identity_sync_private.judged_verdict[],
  sources identity_sync_private.compared_sources,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  reason text
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  touched integer;
begin
  if sources.uncompared > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      identity.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
      write_sources.verified_at, write_sources.origin
    from unnest(identities) as identity
    cross join lateral unnest(identity.sources) as judged
    where identity.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows of new identities', sources.uncompared, touched);
  end if;

  if sources.changed + sources.removed > 0 then
    perform identity_sync_private.assert_row_count(
      'source rows kept',
      sources.changed + sources.removed,
      identity_sync_private.archive_sources(sources.changes, settlement_id, reason)
    );
  end if;

  if sources.removed > 0 then
    delete from wxyc_schema.library_identity_source as known
    using unnest(sources.changes) as change
    where change.action = 'removed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows removed', sources.removed, touched);
  end if;

  if sources.changed > 0 then
    update wxyc_schema.library_identity_source as known
    set
      external_id = change.external_id,
      method = change.method,
      confidence = change.confidence,
      last_verified_at = write_sources.verified_at,
      notes = write_sources.origin
    from unnest(sources.changes) as change
    where change.action = 'changed'
      and known.library_id = change.library_id
      and known.source = change.source
      and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows changed', sources.changed, touched);
  end if;

  if sources.inserted > 0 then
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select
      change.library_id, change.source, change.external_id, change.method, change.confidence,
      write_sources.verified_at, write_sources.origin
    from unnest(sources.changes) as change
    where change.action = 'inserted';
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('source rows inserted', sources.inserted, touched);

    -- Undoing must know what was added to an identity that was there; of a new identity everything was.
    insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
    select write_sources.settlement_id, change.library_id, change.source, change.action, write_sources.reason
    from unnest(sources.changes) as change
    where change.action = 'inserted' and not change.is_of_new_identity;
  end if;
end;
$$;

revoke all on function identity_sync_private.write_sources(
  identity_sync_private.judged_verdict[], identity_sync_private.compared_sources, text, timestamptz, bigint, text
) from public;

comment on function identity_sync_private.write_sources(
  identity_sync_private.judged_verdict[], identity_sync_private.compared_sources, text, timestamptz, bigint, text
) is
  'Takes compared verdicts, the changes to their source rows, and their origin, time, settlement and reason; writes the source rows. Raises LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_sources.sql
--! Included functions/write/write_verdicts.sql
-- Writes judged identities: compares, then issues one statement a kind of change, and none where nothing changes.
-- It does all of it or raises, so that its caller can isolate a culprit; called again with the same verdicts it moves
-- nothing but last_verified_at.
create or replace function identity_sync_private.write_verdicts(
  verdicts identity_sync_private.judged_verdict[],
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  reason constant text := format('verdict of %s, settlement %s', origin, settlement_id);
  identities identity_sync_private.judged_verdict[];
  sources identity_sync_private.compared_sources;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
begin
  identities := identity_sync_private.compare_identities(verdicts, verified_at, is_repair);
  written.history_ids := identity_sync_private.write_identities(identities, origin, verified_at, reason);

  sources := identity_sync_private.compare_sources(identities);
  perform identity_sync_private.write_sources(identities, sources, origin, verified_at, settlement_id, reason);

  -- Check deferred constraints now, while bisection can still isolate the offending verdict.
  set constraints all immediate;

  written.verdicts := identities;
  written.source_inserted := sources.uncompared + sources.inserted;
  written.source_changed := sources.changed;
  written.source_unchanged := sources.unchanged;
  written.source_removed := sources.removed;
  return written;
end;
$$;

revoke all on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_verdicts(
  identity_sync_private.judged_verdict[], text, timestamptz, bigint
) is
  'Takes judged single_artist verdicts, whose libraries the caller has locked, with their origin, time and settlement; writes them and returns them with their final outcomes. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
--! EndIncluded functions/write/write_verdicts.sql
--! Included functions/write/is_shared_refusal.sql
-- A column that is gone, a trigger that cannot run or a read-only transaction refuses every verdict alike: that is no
-- verdict's fault, and none is charged with it. A dozen verdicts out of the whole batch are tried alone, which is
-- cheaper than 1,000 tries of a bisection; what they write is undone.
create or replace function identity_sync_private.is_shared_refusal(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  refusal identity_sync_private.writer_refusal
)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  size constant integer := cardinality(verdicts);
  class constant text := left(refusal.sqlstate, 2);
  single identity_sync_private.judged_verdict[];
  found_message text;
begin
  -- A verdict alone that exceeds a limit of the program is itself too long for an index.
  if class not in ('0A', '25', '42', '54', 'XX') or (class = '54' and size = 1) then
    return false;
  end if;
  -- Steps of the golden section reach all parts of a batch, and fall in with no pattern of its rows.
  for step in 0..least(size, 12) - 1 loop
    exit when size = 1;
    single := array[verdicts[1 + floor(size * (step * 0.6180339887 - floor(step * 0.6180339887)))::integer]];
    begin
      if single[1].outcome = 'resolved_compilation' then
        perform identity_sync_private.write_track_links(single, results, origin, verified_at, settlement_id);
      else
        perform identity_sync_private.write_verdicts(single, origin, verified_at, settlement_id);
      end if;
      raise exception using errcode = 'LS007', message = 'the try is over, and undone';
    exception
      when others or assert_failure then
        get stacked diagnostics found_message = message_text;
        if (sqlstate, found_message) is distinct from (refusal.sqlstate, refusal.message) then
          return false;
        end if;
    end;
  end loop;
  return true;
end;
$$;

revoke all on function identity_sync_private.is_shared_refusal(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, identity_sync_private.writer_refusal
) from public;

comment on function identity_sync_private.is_shared_refusal(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, identity_sync_private.writer_refusal
) is
  'Takes what write_or_bisect takes, and why the database refused it; returns whether the database refuses each of a dozen of these verdicts alone with the same words, of SQLSTATE class 0A, 25, 42, 54 or XX.';
--! EndIncluded functions/write/is_shared_refusal.sql
--! Included functions/write/write_or_bisect.sql
-- Writes verdicts of one outcome; where the database refuses, writes their halves, down to the one that it refuses.
-- The good path costs one exception block; a block a verdict would overflow the subtransaction cache.
-- What is no verdict's fault is raised as it came: connection, deadlock, resources, lock timeout, shutdown, disk, and a
-- refusal that all verdicts share (is_shared_refusal).
create or replace function identity_sync_private.write_or_bisect(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint,
  is_part boolean default false
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  half constant integer := cardinality(verdicts) / 2;
  refusal identity_sync_private.writer_refusal;
  refused identity_sync_private.write_result;
begin
  if verdicts is null then
    return null;
  end if;

  for attempt in 1..3 loop
    begin
      if verdicts[1].outcome = 'resolved_compilation' then
        return identity_sync_private.write_track_links(verdicts, results, origin, verified_at, settlement_id);
      end if;
      return identity_sync_private.write_verdicts(verdicts, origin, verified_at, settlement_id);
    exception
      when others or assert_failure then
        if left(sqlstate, 2) in ('08', '40', '53', '55', '57', '58') then
          raise;
        end if;
        get stacked diagnostics
          refusal.sqlstate = returned_sqlstate,
          refusal.message = message_text,
          refusal.constraint_name = constraint_name;
        if not is_part
          and identity_sync_private.is_shared_refusal(verdicts, results, origin, verified_at, settlement_id, refusal)
        then
          raise;
        end if;
    end;
    -- Another writer was there first, which is no verdict's fault: another look sees what it left.
    exit when refusal.sqlstate not in ('LS006', '23505');
    -- A transaction that keeps its first snapshot never sees it, and would be refused for every verdict.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      raise exception using
        errcode = 'serialization_failure',
        message = format('another session wrote since this transaction began: %s', refusal.message),
        hint = 'Begin again, as a rule with the isolation level read committed.';
    end if;
  end loop;

  if half > 0 then
    return identity_sync_private.add_write_results(
      identity_sync_private.write_or_bisect(verdicts[:half], results, origin, verified_at, settlement_id, true),
      identity_sync_private.write_or_bisect(verdicts[half + 1:], results, origin, verified_at, settlement_id, true)
    );
  end if;

  refused := identity_sync_private.add_write_results(null, null);
  refused.verdicts := array[
    case
      when exists (select from wxyc_schema.library where library.id = verdicts[1].library_id)
      then identity_sync_private.conclude_verdict(verdicts[1], 'writer_error', refusal => refusal)
      else identity_sync_private.conclude_verdict(verdicts[1], 'library_gone')
    end
  ];
  return refused;
end;
$$;

revoke all on function identity_sync_private.write_or_bisect(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, boolean
) from public;

comment on function identity_sync_private.write_or_bisect(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint, boolean
) is
  'Takes verdicts of one outcome (NULL returns NULL) and LML''s results, which hold their tracks, and whether they are a part of what was refused; returns what write_verdicts or write_track_links does, where a verdict that the database refuses is a writer_error with SQLSTATE, message and constraint. Raises only SQLSTATE classes 08, 40, 53, 55, 57 and 58, and what is_shared_refusal finds to be no verdict''s fault.';
--! EndIncluded functions/write/write_or_bisect.sql
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
    -- Hardly any library was released since it was asked, and the index of those that were is next to empty.
    if not is_repair
      and exists (
        select from identity_sync.attempt
        where attempt.library_id = any (judged_ids) and attempt.released_at > apply_identity_verdicts.verified_at
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
begin
  return identity_sync.apply_identity_verdicts(
    identity_sync.read_identity_answer(body, cardinality(requested)), requested, origin, verified_at, strict_bands
  );
end;
$$;

revoke all on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean) is
  'Takes the text of LML''s answer and what apply_identity_verdicts takes besides; returns its report. Raises LS003 where the text is no answer and no id was requested.';
--! EndIncluded functions/write/apply_identity_response.sql
--! Included functions/write/rehearse_identity_verdicts.sql
-- Applies verdicts for real inside a subtransaction and rolls it back, so a dry run meets the refusals of the database
-- too, deferred constraints included. Only the report remains; sequences have moved and dead rows stay until vacuum.
create or replace function identity_sync_private.rehearse_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  report := identity_sync.apply_identity_verdicts(response, requested, origin, verified_at, strict_bands);
  -- A code of its own: PL/pgSQL takes one that ends in 000 for its whole class, and would swallow the writer's errors.
  raise exception using errcode = 'LS007', message = 'the dry run is over, its report is returned';
exception
  when sqlstate 'LS007' then
    return report;
end;
$$;

revoke all on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean
) from public;

comment on function identity_sync_private.rehearse_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) is
  'Takes the arguments of apply_identity_verdicts; returns the report that it would return. Raises what it raises.';
--! EndIncluded functions/write/rehearse_identity_verdicts.sql
--! Included functions/write/replace_attempt.sql
-- Sets a library's attempt, however new the one is that it replaces: a release and a poison input override any answer.
-- Only the mark of a release outlasts a poison input, as it outlasts every refusal.
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
  where excluded.outcome = 'released'
    or known.outcome <> 'released'
    or known.released_at is distinct from known.attempted_at;
$$;

revoke all on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint, timestamptz)
from public;

comment on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint, timestamptz) is
  'Takes a library, the outcome and time of its attempt, and the settlement that made it (NULL: that of the attempt before stays), and the time of an operator''s release (NULL: that of the last one stays).';
--! EndIncluded functions/write/replace_attempt.sql
--! Included functions/run/another_run_waits.sql
-- Whether the process of a lane that waits for a place in flight should carry another run instead. Lanes of a long run
-- may fill every process, and a run that is opened beside it would make no call until the long one ends.
create or replace function identity_sync_private.another_run_waits(run_id bigint)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from identity_sync.run as other
    where other.run_id <> another_run_waits.run_id
      and other.finished_at is null
      and other.stop_reason is null
      and coalesce(other.paused_until <= clock_timestamp(), true)
      and exists (
        select from identity_sync.batch
        where batch.run_id = other.run_id
          and batch.closed_at is null
          and coalesce(batch.not_before <= clock_timestamp(), true)
      )
      and not exists (
        select from identity_sync.batch
        where batch.run_id = other.run_id and batch.closed_at is null and batch.leased_by is not null
      )
  );
$$;

revoke all on function identity_sync_private.another_run_waits(bigint) from public;

comment on function identity_sync_private.another_run_waits(bigint) is
  'Takes a run; returns whether another run has a batch that is due, and no lane that carries one.';
--! EndIncluded functions/run/another_run_waits.sql
--! Included functions/run/lift_planning_hold.sql
-- Lets the cron plan again, because a person has acted: a restarted worker may have another key, and a run that accepts
-- what is unresolved has completed.
create or replace function identity_sync.lift_planning_hold(name text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from identity_sync.planning_hold where planning_hold.name = lift_planning_hold.name;
$$;

revoke all on function identity_sync.lift_planning_hold(text) from public;

comment on function identity_sync.lift_planning_hold(text) is
  'Takes the name of a planning hold (key_refused, brake) and lifts it; one that is not in force changes nothing.';
--! EndIncluded functions/run/lift_planning_hold.sql
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
    perform identity_sync.lift_planning_hold('brake');
  end if;
end;
$$;

revoke all on function identity_sync_private.close_identity_run(bigint) from public;

comment on function identity_sync_private.close_identity_run(bigint) is
  'Takes a run; where every batch of it is closed, sets finished_at, outcome and report; else changes nothing.';
--! EndIncluded functions/run/close_identity_run.sql
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
begin
  update identity_sync.run
  set stop_reason = coalesce(run.stop_reason, reason), stop_cause = coalesce(run.stop_cause, cause)
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
  'Takes a run, the reason, who must have opened the run (NULL: anybody), and the cause (hand, deadline, budget, key, brake, breaker); abandons every batch that no lane holds, and ends the run once no call is in flight. Returns false where no such run is open.';
--! EndIncluded functions/run/stop_identity_run.sql
--! Included functions/run/brake_identity_run.sql
-- The brake: an overloaded LML answers 200 with everything unresolved, and believing it would keep the rows from being
-- due for a month. It measures the latest answers that together hold 1,000 rows which held an identity or had never
-- been requested, so it works alike for any batch size; rows long known as unresolved may all fall due on one day. It
-- stops the run, takes the counted rows' attempts back, and holds planning.
create or replace function identity_sync_private.brake_identity_run(run_id bigint, batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  suspects bigint[];
  answers bigint;
  brake_sample bigint;
  unresolved_share numeric;
  usual_share numeric;
begin
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = brake_identity_run.run_id;

  if this_run.dry_run or this_run.accept_unresolved or this_run.scope in ('recheck', 'ids') then
    return;
  end if;

  if this_run.braked_at is not null then
    -- This answer was in flight when the run stopped; its attempts are taken back too.
    suspects := array(
      select settlement.settlement_id from identity_sync.settlement
      where settlement.batch_id = brake_identity_run.batch_id
    );
  else
    select
      array_agg(latest.settlement_id),
      count(*),
      sum(latest.brake_sample),
      sum(latest.unresolved) / sum(latest.brake_sample)
    into suspects, answers, brake_sample, unresolved_share
    from (
      select
        answer.*,
        sum(answer.brake_sample) over (order by answer.settlement_id desc) - answer.brake_sample as newer_rows
      from (
        select
          settlement.settlement_id,
          settlement.brake_sample,
          cardinality(settlement.brake_unresolved_ids)::numeric as unresolved
        from identity_sync.settlement
        where settlement.run_id = brake_identity_run.run_id and settlement.brake_sample > 0
        order by settlement.settlement_id desc
        -- Each holds a row at least.
        limit 1000
      ) as answer
    ) as latest
    where latest.newer_rows < 1000;

    if answers < 3 or brake_sample < 200 or unresolved_share < 0.95 then
      return;
    end if;

    select sum(cardinality(settlement.brake_unresolved_ids))::numeric / nullif(sum(settlement.brake_sample), 0)
    into usual_share
    from identity_sync.settlement
    join identity_sync.run on run.run_id = settlement.run_id
    where settlement.run_id < brake_identity_run.run_id and not settlement.dry_run and run.braked_at is null;

    if unresolved_share < usual_share + 0.20 then
      return;
    end if;
  end if;

  delete from identity_sync.attempt
  using identity_sync.settlement
  where settlement.settlement_id = any (suspects)
    and attempt.library_id = any (settlement.brake_unresolved_ids)
    and attempt.settlement_id = settlement.settlement_id;

  if this_run.braked_at is null then
    update identity_sync.run set braked_at = clock_timestamp() where run.run_id = brake_identity_run.run_id;

    insert into identity_sync.planning_hold as hold (name, reason, run_id)
    values (
      'brake',
      format('%s %% of %s rows came back unresolved in run %s: LML seems to be overloaded',
        round(unresolved_share * 100), brake_sample, run_id),
      brake_identity_run.run_id
    )
    on conflict (name) do nothing;

    perform identity_sync.stop_identity_run(
      run_id,
      format('%s %% of the last %s rows came back unresolved: LML seems to be overloaded. Their marks were taken back. '
        'Where the answers are right all the same: identity-sync run --accept-unresolved',
        round(unresolved_share * 100), brake_sample),
      cause => 'brake'
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.brake_identity_run(bigint, bigint) from public;

comment on function identity_sync_private.brake_identity_run(bigint, bigint) is
  'Takes a run and its batch just applied; where 95 % of the rows counted (200 or more, of three answers or more) are unresolved, stops the run and takes their attempts back.';
--! EndIncluded functions/run/brake_identity_run.sql
--! Included functions/run/cut_batches.sql
-- Cuts the candidates of a new run into batches of one cohort each, compilations first, whose answers are the largest.
-- A library is in at most one open batch of a real run: candidates of another open run are left to it, and the run
-- notes them and it.
create or replace function identity_sync_private.cut_batches(
  run_id bigint,
  ids integer[],
  batch_size integer,
  va_batch_size integer
)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  this_run identity_sync.run;
  batch_count integer;
begin
  select run.*
  into strict this_run
  from identity_sync.run
  where run.run_id = cut_batches.run_id;

  with in_other_run as (
    select unnest(batch.library_ids) as library_id, batch.run_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.closed_at is null and not run.dry_run and not this_run.dry_run
  ),
  candidate as (
    select due.library_id, due.cohort, in_other_run.run_id as held_by
    from identity_sync.identity_candidates(
      scope => this_run.scope,
      stale_days => this_run.stale_days,
      unresolved_retry_days => this_run.unresolved_retry_days,
      include_null_canonical => this_run.include_null_canonical,
      partition_index => this_run.partition_index,
      partition_count => this_run.partition_count,
      ids => cut_batches.ids
    ) as due
    left join in_other_run on in_other_run.library_id = due.library_id
  ),
  paged as (
    select
      candidate.library_id,
      candidate.cohort,
      (row_number() over (partition by candidate.cohort order by candidate.library_id) - 1)
        / case candidate.cohort when 'va' then va_batch_size else batch_size end as page
    from candidate
    where candidate.held_by is null
  ),
  cut as (
    insert into identity_sync.batch (run_id, cohort, library_ids)
    select cut_batches.run_id, paged.cohort, array_agg(paged.library_id order by paged.library_id)
    from paged
    group by paged.cohort, paged.page
    order by paged.cohort desc, paged.page
    returning batch.library_ids
  ),
  planned as (
    update identity_sync.run
    set
      planned = (select coalesce(sum(cardinality(cut.library_ids)), 0) from cut),
      in_other_runs = array(
        select candidate.library_id from candidate where candidate.held_by is not null order by candidate.library_id
      ),
      held_by_runs = array(
        select distinct candidate.held_by from candidate where candidate.held_by is not null order by candidate.held_by
      )
    where run.run_id = cut_batches.run_id
  )
  select count(*)
  into batch_count
  from cut;

  return batch_count;
end;
$$;

revoke all on function identity_sync_private.cut_batches(bigint, integer[], integer, integer) from public;

comment on function identity_sync_private.cut_batches(bigint, integer[], integer, integer) is
  'Takes a run just opened, the library ids that it is limited to (NULL: no limit), and the libraries a batch of either cohort; returns the number of batches made.';
--! EndIncluded functions/run/cut_batches.sql
--! Included functions/run/end_overdue_runs.sql
-- Stops the runs whose deadline has passed, and abandons in those that are stopping what no lane holds any more, so
-- that a run whose process has died holds nothing that is not in flight when another is planned.
create or replace function identity_sync_private.end_overdue_runs()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select
    identity_sync.stop_identity_run(
      overdue.run_id, 'its deadline has passed, what is left is due next time', cause => 'deadline'
    )
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
--! Included functions/run/enqueue_lanes.sql
-- Enqueues the lanes of a run: jobs that each carry one batch after another until none is left. Spare lanes do no harm,
-- since claim_identity_batch limits the calls in flight, and their keys keep them from piling up in the queue.
create or replace function identity_sync.enqueue_lanes(run_id bigint, lanes integer, run_at timestamptz default null)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
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
--! Included functions/run/tell_of_joined_run.sql
-- A joined run keeps its own settings. The caller is told so, and which of the settings asked for are in vain: a notice
-- reaches psql, a program and a log alike.
create or replace function identity_sync_private.tell_of_joined_run(run_id bigint, asked jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  joined identity_sync.run;
  differences text;
begin
  select run.*
  into strict joined
  from identity_sync.run
  where run.run_id = tell_of_joined_run.run_id;

  select
    string_agg(
      format('%s %s (asked: %s)', kept.key, coalesce(kept.value, 'none'), coalesce(asked ->> kept.key, 'none')), ', '
      order by kept.key
    )
  into differences
  from jsonb_each_text(
    to_jsonb(joined)
    || jsonb_build_object(
      'deadline_minutes', round(extract(epoch from joined.deadline_at - joined.started_at) / 60)::integer
    )
  ) as kept
  where asked ? kept.key and kept.value is distinct from asked ->> kept.key;

  if differences is null then
    raise notice using
      errcode = 'LS008',
      message = format('run %s is open, and is joined (opened by %s)', run_id, joined.opened_by);
  else
    raise warning using
      errcode = 'LS008',
      message = format(
        'run %s is open, and is joined (opened by %s). It keeps its own settings: %s',
        run_id, joined.opened_by, differences
      ),
      hint = 'Wait until it is over, or stop it, and run again.';
  end if;
end;
$$;

revoke all on function identity_sync_private.tell_of_joined_run(bigint, jsonb) from public;

comment on function identity_sync_private.tell_of_joined_run(bigint, jsonb) is
  'Takes an open run and the settings asked for by their names; tells in a notice that it is joined, in a warning where it keeps others.';
--! EndIncluded functions/run/tell_of_joined_run.sql
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

  if scheduled and exists (select from identity_sync.planning_hold) then
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
--! Included functions/run/trip_breaker.sql
-- The breaker: after three failed batches in a row LML is down, or the database takes no answer, and a run must not
-- spend the whole catalogue on it. The run pauses for 30 seconds, then twice as long each time, and stops after the
-- fourth pause. Parts of one batch count as one, and a batch with nothing to request counts neither way.
create or replace function identity_sync_private.trip_breaker(run_id bigint, reason text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  failed_in_a_row integer;
  paused identity_sync.run;
begin
  select count(*) filter (where latest.state = 'failed')
  into failed_in_a_row
  from (
    select distinct on (coalesce(batch.root_batch_id, batch.batch_id)) batch.state, batch.closed_at
    from identity_sync.batch
    where batch.run_id = trip_breaker.run_id and batch.state in ('applied', 'poisoned', 'failed')
    order by coalesce(batch.root_batch_id, batch.batch_id), batch.closed_at desc
  ) as latest
  where latest.closed_at >= (
    select coalesce(max(batch.closed_at), '-infinity')
    from identity_sync.batch
    where batch.run_id = trip_breaker.run_id and batch.state in ('applied', 'poisoned')
  );

  if failed_in_a_row < 3 then
    return;
  end if;

  update identity_sync.run
  set
    pauses = run.pauses + 1,
    paused_until = clock_timestamp() + 30 * 2 ^ run.pauses * interval '1 second'
  where run.run_id = trip_breaker.run_id
    and run.finished_at is null
    and coalesce(run.paused_until <= clock_timestamp(), true)
  returning *
  into paused;

  if paused.pauses > 4 then
    perform identity_sync.stop_identity_run(
      run_id, format('batch after batch fails, the last one: %s', reason), cause => 'breaker'
    );
  end if;
end;
$$;

revoke all on function identity_sync_private.trip_breaker(bigint, text) from public;

comment on function identity_sync_private.trip_breaker(bigint, text) is
  'Takes a run and why its latest batch failed; pauses or stops the run after three failures in a row.';
--! EndIncluded functions/run/trip_breaker.sql
--! Included functions/batch/apply_identity_batch.sql
-- Writes LML's answer for a batch and closes the batch. A dry run rolls the writing back and keeps the answer's text,
-- so that exactly this answer can be applied later. A row that had lost its artist name before the request counts
-- nowhere.
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
  report jsonb;
begin
  select batch.library_ids, batch.run_id, batch.answered_at, run.dry_run, run.strict_bands
  into strict this_batch
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  where batch.batch_id = apply_identity_batch.batch_id;

  -- A kept answer is as old as its call.
  came_at := coalesce(this_batch.answered_at, clock_timestamp());

  -- What the request left out: a row that is there, has no artist name, and was not answered either.
  if jsonb_array_length(results) < cardinality(this_batch.library_ids) then
    this_batch.library_ids := array(
      select named.id
      from unnest(this_batch.library_ids) as named (id)
      left join wxyc_schema.library on library.id = named.id
      where library.id is null
        or identity_sync_private.has_name(library.artist_name)
        or results @> jsonb_build_array(jsonb_build_object('library_id', named.id))
    );
  end if;

  if this_batch.dry_run then
    report := identity_sync_private.rehearse_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands
    );
    insert into identity_sync.settlement (dry_run, origin, verified_at, requested, unrequested, report)
    values (
      true, service, came_at, cardinality(this_batch.library_ids),
      (report ->> 'scanned')::integer - cardinality(this_batch.library_ids), report
    );
  else
    perform identity_sync.apply_identity_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands
    );
  end if;

  update identity_sync.settlement
  set run_id = this_batch.run_id, batch_id = apply_identity_batch.batch_id, is_answer = body is not null
  where settlement.settlement_id = currval('identity_sync.settlement_settlement_id_seq');

  update identity_sync.batch
  set
    state = case when body is null then 'empty' else 'applied' end,
    library_ids = this_batch.library_ids,
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
--! Included functions/batch/backoff.sql
-- How long to wait before the next call: half a second, doubling to 30, with a quarter of jitter either way, so that
-- batches which failed together do not come back together. Retries and deferrals share it.
create or replace function identity_sync_private.backoff(tries integer)
returns interval
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  -- Capped before it doubles: deferrals have no bound, and 2 ^ 1024 is out of range.
  select least(30, 0.5 * 2 ^ least(tries, 10)) * (0.75 + random() / 2) * interval '1 second';
$$;

revoke all on function identity_sync_private.backoff(integer) from public;

comment on function identity_sync_private.backoff(integer) is
  'Takes how often the same batch has been sent back before; returns the pause, 0.375 to 37.5 seconds.';
--! EndIncluded functions/batch/backoff.sql
--! Included functions/batch/close_empty_batch.sql
-- Applies a batch without a call, since all of its records are gone or have lost their names. Its caller holds a lock
-- that every claim needs, so it waits for no other session: the batch then has its turn some seconds later.
create or replace function identity_sync_private.close_empty_batch(batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
declare
  empty record;
begin
  select batch.run_id, batch.library_ids
  into strict empty
  from identity_sync.batch
  where batch.batch_id = close_empty_batch.batch_id;

  perform from identity_sync.run where run.run_id = empty.run_id for no key update;
  perform identity_sync_private.lock_identities(empty.library_ids);
  perform identity_sync_private.apply_identity_batch(batch_id, '[]');
  perform identity_sync_private.close_identity_run(empty.run_id);
exception
  when lock_not_available then
    update identity_sync.batch
    set not_before = clock_timestamp() + identity_sync_private.backoff(3)
    where batch.batch_id = close_empty_batch.batch_id;
end;
$$;

revoke all on function identity_sync_private.close_empty_batch(bigint) from public;

comment on function identity_sync_private.close_empty_batch(bigint) is
  'Takes a batch of which nothing is left to request; closes it as empty, or puts it off where another session holds its run or its libraries.';
--! EndIncluded functions/batch/close_empty_batch.sql
--! Included functions/batch/identity_batch_request.sql
-- The request body of a batch, made from the catalogue's rows as they are now, so that a corrected name is the one
-- sent. Rows that are gone or have lost their artist name are left out: LML would refuse the whole batch.
create or replace function identity_sync.identity_batch_request(batch_id bigint)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  requested constant integer[] := (
    select batch.library_ids from identity_sync.batch where batch.batch_id = identity_batch_request.batch_id
  );
begin
  if requested is null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no batch %s', coalesce(batch_id::text, 'NULL'));
  end if;

  return (
    select
      '{"inputs":['
      || string_agg(
        json_build_object(
          'library_id', library.id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'legacy_release_id', library.legacy_release_id
        )::text,
        ','
        order by library.id
      )
      || '],"include_tracks":true}'
    from wxyc_schema.library
    where library.id = any (requested)
      and identity_sync_private.has_name(library.artist_name)
  );
end;
$$;

revoke all on function identity_sync.identity_batch_request(bigint) from public;

comment on function identity_sync.identity_batch_request(bigint) is
  'Takes a batch; returns the JSON text to POST to LML for it, NULL where no row is left to request. Raises LS002 for an unknown batch.';
--! EndIncluded functions/batch/identity_batch_request.sql
--! Included functions/batch/reopen_identity_batch.sql
-- Makes a batch claimable again after its lane returned it or died with it. In a run that was told to stop it is
-- abandoned instead, which may end the run; but an answer that is kept is still to be applied.
create or replace function identity_sync_private.reopen_identity_batch(batch_id bigint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  reopened record;
begin
  update identity_sync.batch
  set
    state = case
      when batch.answer is not null then 'answered'
      when run.stop_reason is null then 'open'
      else 'abandoned'
    end,
    leased_by = null,
    leased_until = null,
    closed_at = case when run.stop_reason is not null and batch.answer is null then clock_timestamp() end
  from identity_sync.run
  where batch.batch_id = reopen_identity_batch.batch_id
    and batch.closed_at is null
    and run.run_id = batch.run_id
  returning run.run_id, run.stop_reason
  into reopened;

  if reopened.stop_reason is not null then
    perform identity_sync_private.close_identity_run(reopened.run_id);
  end if;
end;
$$;

revoke all on function identity_sync_private.reopen_identity_batch(bigint) from public;

comment on function identity_sync_private.reopen_identity_batch(bigint) is
  'Takes an unfinished batch; opens it again, or abandons it where its run was told to stop. A kept answer waits for another lane.';
--! EndIncluded functions/batch/reopen_identity_batch.sql
--! Included functions/batch/reopen_orphaned_batches.sql
-- Opens again what dead processes left behind, and abandons what is open in a run that is stopping. The caller holds a
-- lock that every claim needs, so nothing here waits: a batch that is locked is being settled, and its lane is alive.
create or replace function identity_sync_private.reopen_orphaned_batches()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from (
    select batch.batch_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.closed_at is null
      and (batch.leased_until < clock_timestamp() or batch.state = 'open' and run.stop_reason is not null)
    order by batch.batch_id
    for no key update skip locked
  ) as orphan;
$$;

revoke all on function identity_sync_private.reopen_orphaned_batches() from public;

comment on function identity_sync_private.reopen_orphaned_batches() is
  'Opens every batch again whose lease has run out, unless another session holds it or its run.';
--! EndIncluded functions/batch/reopen_orphaned_batches.sql
--! Included functions/batch/stop_unheld_run.sql
-- Stops a run for a caller that must not wait, since it holds a lock that every claim needs.
create or replace function identity_sync_private.stop_unheld_run(run_id bigint, reason text, cause text)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from identity_sync.run where run.run_id = stop_unheld_run.run_id for no key update skip locked;
  if not found then
    return false;
  end if;

  perform identity_sync.stop_identity_run(run_id, reason, cause => cause);
  return true;
end;
$$;

revoke all on function identity_sync_private.stop_unheld_run(bigint, text, text) from public;

comment on function identity_sync_private.stop_unheld_run(bigint, text, text) is
  'Takes a run, the reason and the cause as stop_identity_run does; returns false, and stops nothing, where another session holds the run.';
--! EndIncluded functions/batch/stop_unheld_run.sql
--! Included functions/batch/take_kept_answer.sql
-- Gives a lane the next answer of its run that is kept and due again. It needs no call, so neither a pause nor a stop
-- of the run holds it up.
create or replace function identity_sync_private.take_kept_answer(
  run_id bigint,
  leased_by text,
  leased_until timestamptz
)
returns table (batch_id bigint, inputs integer)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set leased_by = take_kept_answer.leased_by, leased_until = take_kept_answer.leased_until, not_before = null
  where batch.batch_id = (
    select kept.batch_id
    from identity_sync.batch as kept
    where kept.run_id = take_kept_answer.run_id
      and kept.closed_at is null
      and kept.answer is not null
      and kept.leased_by is null
      and coalesce(kept.not_before <= clock_timestamp(), true)
    order by kept.batch_id
    limit 1
    for no key update skip locked
  )
  returning batch.batch_id, cardinality(batch.library_ids);
$$;

revoke all on function identity_sync_private.take_kept_answer(bigint, text, timestamptz) from public;

comment on function identity_sync_private.take_kept_answer(bigint, text, timestamptz) is
  'Takes a run, the lane''s name and the end of its lease; returns the batch whose kept answer the lane is to hand over, or no row.';
--! EndIncluded functions/batch/take_kept_answer.sql
--! Included functions/batch/take_turn.sql
-- Decides whether a worker may begin another call now, so that workers share the calls evenly, also one that joins
-- late. A worker that is ahead leaves a free place in flight to one that waits and is behind. The caller holds the lock
-- of claim_identity_batch.
create or replace function identity_sync_private.take_turn(worker text, concurrency integer, in_flight integer)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A place that changes hands lies idle until a lane of the other worker asks for it, 100 ms at most. A lead of two
  -- calls makes that rare. It also bounds what a worker may catch up on: calls that others made while it was away are
  -- not owed.
  lead constant integer := 2;
  -- A lane that waits asks ten times a second: a worker that has been silent for this long waits no more.
  silence constant interval := interval '1 second';
  turns_now bigint;
  may_begin boolean;
begin
  insert into identity_sync.worker as known (name, turns, concurrency)
  select take_turn.worker, coalesce(max(fleet.turns) - lead, 0), take_turn.concurrency
  from identity_sync.worker as fleet
  on conflict (name) do update
  set turns = greatest(known.turns, excluded.turns), concurrency = excluded.concurrency, asked_at = clock_timestamp()
  returning turns
  into turns_now;

  may_begin := in_flight < take_turn.concurrency and not exists (
    select
    from identity_sync.worker as other
    where other.name <> take_turn.worker
      and other.is_waiting
      and other.asked_at > clock_timestamp() - silence
      -- One that allows fewer calls in flight could not take the place.
      and other.concurrency > in_flight
      and other.turns <= turns_now - lead
  );

  update identity_sync.worker as known
  set turns = known.turns + may_begin::integer, is_waiting = not may_begin
  where known.name = take_turn.worker;

  return may_begin;
end;
$$;

revoke all on function identity_sync_private.take_turn(text, integer, integer) from public;

comment on function identity_sync_private.take_turn(text, integer, integer) is
  'Takes a worker, the calls that it allows in flight over the whole database, and those in flight; returns whether it may begin one, and counts it.';
--! EndIncluded functions/batch/take_turn.sql
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

    request := identity_sync.identity_batch_request(claim_identity_batch.batch_id);
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
--! Included functions/batch/decide_call_outcome.sql
-- The fault policy: what becomes of a batch after a call, read from top to bottom. sql/wire.md prints it as a table and
-- gives the reasons; a test holds the two together.
create or replace function identity_sync_private.decide_call_outcome(
  http_status integer,
  has_answer boolean,
  size integer,
  tries integer,
  max_tries integer,
  is_part boolean,
  has_answered_part boolean,
  is_stopping boolean
)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when has_answer then 'applied'
    when http_status in (401, 403) then 'key_refused'
    when is_stopping then 'abandoned'
    when http_status = 429 then 'deferred'
    when http_status in (413, 422) and size > 1 then 'split'
    when http_status = 422 then 'poison_input'
    when http_status = 413 and has_answered_part then 'poison_input'
    when (http_status = 200 or http_status >= 500) and size > 1 and is_part then 'split'
    when tries + 1 < max_tries and (http_status is null or http_status in (200, 408, 425) or http_status >= 500)
    then 'retried'
    when (http_status = 200 or http_status >= 500) and size > 1 then 'split'
    when (http_status = 200 or http_status >= 500) and has_answered_part then 'poison_input'
    else 'failed'
  end;
$$;

revoke all on function identity_sync_private.decide_call_outcome(
  integer, boolean, integer, integer, integer, boolean, boolean, boolean
) from public;

comment on function identity_sync_private.decide_call_outcome(
  integer, boolean, integer, integer, integer, boolean, boolean, boolean
) is
  'Takes a call''s HTTP status (NULL: none) and whether its body was an answer; its batch''s size, charged tries before it and allowed tries, whether it is a part of a cut batch, another part of which was answered; and whether its run is stopping. Returns applied, key_refused, abandoned, deferred, split, poison_input, retried or failed.';
--! EndIncluded functions/batch/decide_call_outcome.sql
--! Included functions/batch/defer_identity_batch.sql
-- Opens a batch again because LML asked for a pause, which applies to the whole run: LML would answer the other calls
-- the same. A deferral charges no try.
create or replace function identity_sync_private.defer_identity_batch(batch_id bigint, retry_at timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  deferred identity_sync.batch;
begin
  update identity_sync.batch
  set
    state = 'open',
    leased_by = null,
    leased_until = null,
    deferrals = batch.deferrals + 1,
    not_before = coalesce(
      -- A Retry-After that has passed already must not make a lane spin.
      case when retry_at is not null then greatest(retry_at, clock_timestamp() + interval '0.5 seconds') end,
      clock_timestamp() + identity_sync_private.backoff(batch.deferrals)
    )
  where batch.batch_id = defer_identity_batch.batch_id
  returning *
  into deferred;

  update identity_sync.run
  set paused_until = greatest(run.paused_until, deferred.not_before)
  where run.run_id = deferred.run_id;
end;
$$;

revoke all on function identity_sync_private.defer_identity_batch(bigint, timestamptz) from public;

comment on function identity_sync_private.defer_identity_batch(bigint, timestamptz) is
  'Takes a batch and the time that LML named (NULL: none); opens the batch again for then, and pauses its run until then.';
--! EndIncluded functions/batch/defer_identity_batch.sql
--! Included functions/batch/record_unanswered_batch.sql
-- The settlement of a batch that got no answer: each of its rows counts once, under the one reason that it shares with
-- the others, so that a run's report adds up also where LML failed. A library that is gone counts as that.
create or replace function identity_sync_private.record_unanswered_batch(batch_id bigint, counted_as text)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.settlement (
    run_id, batch_id, dry_run, is_answer, origin, verified_at, requested, unrequested, report
  )
  select
    batch.run_id, batch.batch_id, run.dry_run, false, identity_sync_private.service_origin(), clock_timestamp(),
    counted.rows, 0,
    jsonb_set(
      jsonb_set(
        jsonb_set(identity_sync_private.empty_report(), '{scanned}', to_jsonb(counted.rows)),
        '{rows_skipped,library_gone}',
        to_jsonb(counted.gone)
      ),
      array['rows_skipped', record_unanswered_batch.counted_as],
      to_jsonb(counted.rows - counted.gone)
    )
  from identity_sync.batch
  join identity_sync.run on run.run_id = batch.run_id
  cross join lateral (
    select count(*)::integer as rows, (count(*) filter (where library.id is null))::integer as gone
    from unnest(batch.library_ids) as named (id)
    left join wxyc_schema.library on library.id = named.id
  ) as counted
  where batch.batch_id = record_unanswered_batch.batch_id
  returning settlement.settlement_id;
$$;

revoke all on function identity_sync_private.record_unanswered_batch(bigint, text) from public;

comment on function identity_sync_private.record_unanswered_batch(bigint, text) is
  'Takes a batch and the key of rows_skipped that its rows count as; returns the id of the settlement made for it.';
--! EndIncluded functions/batch/record_unanswered_batch.sql
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
--! Included functions/batch/has_answered_part.sql
-- Whether LML has answered a part of a batch that was cut: then an input is at fault, and not LML. A part that was
-- refused (poisoned) or had nothing to request (empty) is no answer.
create or replace function identity_sync_private.has_answered_part(root_batch_id bigint)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from identity_sync.batch as part
    where part.root_batch_id = has_answered_part.root_batch_id and part.state = 'applied'
  );
$$;

revoke all on function identity_sync_private.has_answered_part(bigint) from public;

comment on function identity_sync_private.has_answered_part(bigint) is
  'Takes a batch as it was planned (NULL: none); returns whether LML answered a part of it with 200.';
--! EndIncluded functions/batch/has_answered_part.sql
--! Included functions/batch/keep_identity_answer.sql
-- Keeps an answer that cannot be written now, because another session holds some of its rows. A lane applies it later
-- without a call, so LML is not asked again and no try is charged.
create or replace function identity_sync_private.keep_identity_answer(
  batch_id bigint,
  answer text,
  answered_at timestamptz
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set
    state = 'answered',
    leased_by = null,
    leased_until = null,
    answer = keep_identity_answer.answer,
    answered_at = coalesce(batch.answered_at, keep_identity_answer.answered_at),
    -- Four seconds or so: long enough to cost nothing, short enough that a run does not end much later.
    not_before = clock_timestamp() + identity_sync_private.backoff(3)
  where batch.batch_id = keep_identity_answer.batch_id;
$$;

revoke all on function identity_sync_private.keep_identity_answer(bigint, text, timestamptz) from public;

comment on function identity_sync_private.keep_identity_answer(bigint, text, timestamptz) is
  'Takes a batch, the text of its answer and when it came; keeps it, without a lease, to be applied some seconds later.';
--! EndIncluded functions/batch/keep_identity_answer.sql
--! Included functions/batch/quarantine_poison_input.sql
-- Closes a batch of one input as poisoned: LML refuses this input, or fails on it while it answers others. The input
-- goes to quarantine with LML's status and words, and is not requested again within the retry window or until replayed
-- or released. One whose library is gone counts as that.
create or replace function identity_sync_private.quarantine_poison_input(batch_id bigint, reason text, body text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  poisoned record;
  recorded bigint;
  came_at timestamptz;
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
  returning batch.library_ids[1] as library_id, run.dry_run, run.strict_bands
  into poisoned;

  recorded := identity_sync_private.record_unanswered_batch(batch_id, 'poison_input');
  if poisoned.dry_run then
    return;
  end if;

  select settlement.verified_at
  into strict came_at
  from identity_sync.settlement
  where settlement.settlement_id = recorded;

  perform identity_sync_private.lock_identities(array[poisoned.library_id]);
  perform identity_sync_private.replace_attempt(poisoned.library_id, 'poison_input', came_at, recorded);

  update identity_sync.quarantined_verdict as entry
  set closed_at = came_at, closed_reason = format('a later refusal, settlement %s', recorded)
  where entry.library_id = poisoned.library_id and entry.closed_at is null;

  insert into identity_sync.quarantined_verdict (
    settlement_id, library_id, outcome, reason, verdict_text, origin, verified_at, strict_bands
  )
  values (
    recorded, poisoned.library_id, 'poison_input', quarantine_poison_input.reason, left(body, 10000),
    identity_sync_private.service_origin(), came_at, poisoned.strict_bands
  );
end;
$$;

revoke all on function identity_sync_private.quarantine_poison_input(bigint, text, text) from public;

comment on function identity_sync_private.quarantine_poison_input(bigint, text, text) is
  'Takes a batch of one library, LML''s status in words and its body, of which 10,000 characters are kept; closes the batch as poisoned. A dry run quarantines nothing.';
--! EndIncluded functions/batch/quarantine_poison_input.sql
--! Included functions/batch/retry_identity_batch.sql
-- Opens a batch again after a passing fault, and charges it a try. LML's Retry-After rules where it was given.
create or replace function identity_sync_private.retry_identity_batch(batch_id bigint, retry_at timestamptz)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set
    state = 'open',
    leased_by = null,
    leased_until = null,
    tries = batch.tries + 1,
    not_before = coalesce(retry_at, clock_timestamp() + identity_sync_private.backoff(batch.tries))
  where batch.batch_id = retry_identity_batch.batch_id;
$$;

revoke all on function identity_sync_private.retry_identity_batch(bigint, timestamptz) from public;

comment on function identity_sync_private.retry_identity_batch(bigint, timestamptz) is
  'Takes a batch and the time that LML named (NULL: none); opens the batch again for then, with one try more.';
--! EndIncluded functions/batch/retry_identity_batch.sql
--! Included functions/batch/split_identity_batch.sql
-- Cuts a batch in two, because LML refuses or fails on something in it; the halves come after everything else in the
-- run. Answered parts of the same batch justify further cuts. Without one, after `patience` cuts, LML is at fault and
-- not an input, and all remaining parts fail.
create or replace function identity_sync_private.split_identity_batch(batch_id bigint, reason text, patience integer)
returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  whole identity_sync.batch;
  root bigint;
  half integer;
begin
  select batch.*
  into strict whole
  from identity_sync.batch
  where batch.batch_id = split_identity_batch.batch_id;

  root := coalesce(whole.root_batch_id, whole.batch_id);
  half := cardinality(whole.library_ids) / 2;

  if not identity_sync_private.has_answered_part(root)
    and (
      select count(*) from identity_sync.batch as part where part.root_batch_id = root and part.state = 'split'
    ) >= patience
  then
    perform identity_sync.fail_identity_batch(part.batch_id, reason)
    from identity_sync.batch as part
    where part.root_batch_id = root
      and (part.batch_id = split_identity_batch.batch_id or part.state = 'open');
    return 'failed';
  end if;

  update identity_sync.batch
  set state = 'split', leased_by = null, leased_until = null, failure = reason, closed_at = clock_timestamp()
  where batch.batch_id = split_identity_batch.batch_id;

  insert into identity_sync.batch (run_id, cohort, library_ids, root_batch_id)
  values
    (whole.run_id, whole.cohort, whole.library_ids[:half], root),
    (whole.run_id, whole.cohort, whole.library_ids[half + 1:], root);

  return 'split';
end;
$$;

revoke all on function identity_sync_private.split_identity_batch(bigint, text, integer) from public;

comment on function identity_sync_private.split_identity_batch(bigint, text, integer) is
  'Takes a batch of two libraries or more, why it is cut, and how many parts of the same planned batch may be cut before LML answers one; returns split, or failed where the remaining parts were given up.';
--! EndIncluded functions/batch/split_identity_batch.sql
--! Included functions/batch/stop_for_refused_key.sql
-- LML refuses the key, so it would refuse every other call too: all open runs stop, and the cron plans nothing until
-- LML has answered a run by hand or a worker has started with another key. The batch fails, and its rows stay due.
create or replace function identity_sync_private.stop_for_refused_key(batch_id bigint, http_status integer, reason text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into identity_sync.planning_hold as hold (name, reason, run_id)
  select 'key_refused', stop_for_refused_key.reason, batch.run_id
  from identity_sync.batch
  where batch.batch_id = stop_for_refused_key.batch_id
  on conflict (name) do nothing;

  -- Stopped before the batch fails, so that a run of which it was the last names the key as its reason.
  perform identity_sync.stop_identity_run(
    open.run_id,
    format('LML answered %s: the key is refused. Check LML_API_KEY; nothing more is asked.', http_status),
    cause => 'key'
  )
  from identity_sync.run as open
  where open.finished_at is null;

  perform identity_sync.fail_identity_batch(batch_id, reason);
end;
$$;

revoke all on function identity_sync_private.stop_for_refused_key(bigint, integer, text) from public;

comment on function identity_sync_private.stop_for_refused_key(bigint, integer, text) is
  'Takes a batch, the status 401 or 403 and the reason in words; holds planning, stops every open run and fails the batch.';
--! EndIncluded functions/batch/stop_for_refused_key.sql
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
  answer_text text;
  answer jsonb;
  decision text;
  retry_at constant timestamptz := identity_sync_private.parse_retry_after(retry_after);
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
    when http_status = 200 then 'LML answered 200 with what is no answer'
    else format('LML answered %s: %s', http_status, identity_sync_private.lml_error_message(body))
  end;

  decision := identity_sync_private.decide_call_outcome(
    http_status => http_status,
    has_answer => answer is not null,
    size => cardinality(this_batch.library_ids),
    tries => this_batch.tries,
    max_tries => max_tries,
    is_part => this_batch.root_batch_id is not null,
    has_answered_part => identity_sync_private.has_answered_part(this_batch.root_batch_id),
    is_stopping => exists (
      select from identity_sync.run where run.run_id = this_batch.run_id and run.stop_reason is not null
    )
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
--! Included functions/batch/renew_identity_lease.sql
-- Renews a lane's lease while it waits to hand its answer over again. If it ran out meanwhile, the same rows would be
-- asked twice.
create or replace function identity_sync.renew_identity_lease(batch_id bigint, leased_by text, lease_ms integer)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  update identity_sync.batch
  set leased_until = clock_timestamp() + renew_identity_lease.lease_ms * interval '1 millisecond'
  where batch.batch_id = renew_identity_lease.batch_id
    and batch.leased_by = renew_identity_lease.leased_by;
$$;

revoke all on function identity_sync.renew_identity_lease(bigint, text, integer) from public;

comment on function identity_sync.renew_identity_lease(bigint, text, integer) is
  'Takes a batch, the lane that holds it and its new lease in milliseconds from now. A batch that another lane holds stays as it is.';
--! EndIncluded functions/batch/renew_identity_lease.sql
--! Included functions/batch/return_identity_batch.sql
-- Returns a claimed batch whose call was cut off, so that another lane claims it at once instead of after the lease.
-- A batch that another lane holds by now stays as it is.
create or replace function identity_sync.return_identity_batch(batch_id bigint, leased_by text)
returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  select identity_sync_private.reopen_identity_batch(leased.batch_id)
  from identity_sync.batch as leased
  where leased.batch_id = return_identity_batch.batch_id
    and leased.leased_by = return_identity_batch.leased_by
    and leased.closed_at is null;
$$;

revoke all on function identity_sync.return_identity_batch(bigint, text) from public;

comment on function identity_sync.return_identity_batch(bigint, text) is
  'Takes a batch and the lane that holds it; opens it again, or abandons it where its run is stopping.';
--! EndIncluded functions/batch/return_identity_batch.sql
--! Included functions/upkeep/analyze_filled_tables.sql
-- Renews the planner's statistics of the tables that a run fills, since the next plan may be made before autovacuum
-- comes. It waits for no lock: a table under maintenance by another session is skipped.
create or replace function identity_sync.analyze_filled_tables()
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
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
-- Writes what a dry run previewed: the answers that it kept, without a second call to LML. Each keeps its age, so a
-- verdict that a newer one has overtaken since is a stale_verdict. A second time it changes nothing.
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
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty')
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
      where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty')
    )
  );

  for previewed in
    select
      batch.batch_id,
      batch.library_ids,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.run_id = apply_identity_preview.run_id and batch.state in ('applied', 'empty')
    order by batch.batch_id
  loop
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
  'Takes a dry run that has finished; applies its kept answers and returns the report. Raises LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
--! EndIncluded functions/repair/apply_identity_preview.sql
--! Included functions/repair/diff_snapshots.sql
-- Two results of identity_snapshot side by side: every column that differs, old beside new, in reading order.
-- A row that was added has no old values, a row that was removed has no new ones.
create or replace function identity_sync.diff_snapshots(before jsonb, after jsonb)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with cell as (
    select
      'before' as side, library.key::integer as library_id, stored.key as stored_row, field.key as column_name,
      field.value
    from jsonb_each(before) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
    where field.value is not null
    union all
    select 'after', library.key::integer, stored.key, field.key, field.value
    from jsonb_each(after) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
    where field.value is not null
  )
  select
    cell.library_id,
    cell.stored_row,
    cell.column_name,
    min(cell.value) filter (where cell.side = 'before'),
    min(cell.value) filter (where cell.side = 'after')
  from cell
  group by cell.library_id, cell.stored_row, cell.column_name
  having min(cell.value) filter (where cell.side = 'before')
    is distinct from min(cell.value) filter (where cell.side = 'after')
  order by cell.library_id, cell.stored_row, cell.column_name;
$$;

revoke all on function identity_sync.diff_snapshots(jsonb, jsonb) from public;

comment on function identity_sync.diff_snapshots(jsonb, jsonb) is
  'Takes two results of identity_snapshot; returns one row a column that differs, with its old and new value.';
--! EndIncluded functions/repair/diff_snapshots.sql
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
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: it is kept with the entry.';
  end if;

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
  'Takes an open entry of the view quarantine and why it is dismissed; closes it and lifts the mark that it left. Raises LS001 for an empty reason, LS002 where no such entry is open.';
--! EndIncluded functions/repair/dismiss_quarantined_verdict.sql
--! Included functions/repair/identity_snapshot.sql
-- What is stored for the libraries that an answer names, for comparing before with after: the main row, each source
-- row and each track credit as jsonb, under a name of its own. Every confirmation moves last_verified_at, so it is left
-- out.
create or replace function identity_sync.identity_snapshot(response jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with named as (
    select distinct (listed.verdict -> 'library_id')::numeric::integer as library_id
    from jsonb_array_elements(coalesce(identity_sync_private.results_of(response), '[]')) as listed (verdict)
    where case
      when jsonb_typeof(listed.verdict) = 'object'
      then identity_sync_private.is_integer(listed.verdict -> 'library_id', -2147483648)
    end
  ),
  stored as (
    select known.library_id, 'identity' as name, to_jsonb(known) - 'last_verified_at' as content
    from wxyc_schema.library_identity as known
    join named on named.library_id = known.library_id
    union all
    select known.library_id, 'source ' || known.source, to_jsonb(known) - 'last_verified_at' - 'source'
    from wxyc_schema.library_identity_source as known
    join named on named.library_id = known.library_id
    union all
    select credit.library_id, 'track ' || credit.id, to_jsonb(credit) - 'id'
    from wxyc_schema.compilation_track_artist as credit
    join named on named.library_id = credit.library_id
  )
  select
    coalesce(
      jsonb_object_agg(
        named.library_id::text,
        coalesce(
          (
            select jsonb_object_agg(stored.name, stored.content - 'library_id')
            from stored
            where stored.library_id = named.library_id
          ),
          '{}'
        )
      ),
      '{}'
    )
  from named;
$$;

revoke all on function identity_sync.identity_snapshot(jsonb) from public;

comment on function identity_sync.identity_snapshot(jsonb) is
  'Takes an answer of LML; returns what is stored for the libraries it names, as {library_id: {row: content}}.';
--! EndIncluded functions/repair/identity_snapshot.sql
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
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  released_at constant timestamptz := clock_timestamp();
  is_shared boolean;
  kept_history_ids integer[];
  removals identity_sync_private.source_change[];
  removed_sources integer;
begin
  if btrim(coalesce(reason, '')) = '' then
    raise exception using
      errcode = 'LS001',
      message = format('reason is %s', coalesce(quote_literal(reason), 'NULL')),
      hint = 'Say why: it is kept in the history.';
  end if;
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

  kept_history_ids := identity_sync_private.archive_identities(array[library_id], reason, 'release');

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
  else
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
  removed_sources := identity_sync_private.archive_sources(removals, this_settlement, reason);
  delete from wxyc_schema.library_identity_source as known
  using unnest(removals) as removal
  where known.library_id = removal.library_id and known.source = removal.source;

  perform identity_sync_private.replace_attempt(
    library_id, 'released', released_at, this_settlement, released_at
  );

  insert into identity_sync.settlement (
    settlement_id, origin, verified_at, requested, unrequested, report, history_ids
  )
  overriding system value
  values (
    this_settlement, identity_sync_private.repair_origin(session_user), released_at, 0, 0,
    identity_sync_private.empty_report(), kept_history_ids
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
-- time and strictness. What is refused again returns to quarantine; a poison input, which has no verdict, becomes due
-- instead; a verdict on an id that was not asked stays where it is. Entries of one answer are applied together.
create or replace function identity_sync.replay_quarantined_verdicts(run_id bigint default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  replayable bigint[];
  poisoned integer;
  answer record;
  report jsonb := identity_sync_private.empty_report();
  replayed integer := 0;
  made_due integer := 0;
begin
  if run_id is not null
    and not exists (select from identity_sync.run where run.run_id = replay_quarantined_verdicts.run_id)
  then
    raise exception using errcode = 'LS002', message = format('there is no run %s', run_id);
  end if;

  replayable := array(
    select entry.quarantine_id
    from identity_sync.quarantined_verdict as entry
    left join identity_sync.settlement
      on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
    where entry.closed_at is null
      and entry.outcome <> 'lml_untrusted_library_id'
      and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
  );

  -- Only what is replayed is held, and all of it at once.
  perform identity_sync_private.lock_identities(
    array(
      select entry.library_id
      from identity_sync.quarantined_verdict as entry
      where entry.quarantine_id = any (replayable)
    )
  );

  for poisoned in
    select entry.library_id
    from identity_sync.quarantined_verdict as entry
    where entry.quarantine_id = any (replayable) and entry.closed_at is null and entry.outcome = 'poison_input'
  loop
    perform identity_sync_private.replace_attempt(poisoned, 'released', clock_timestamp(), null);
    made_due := made_due + 1;
  end loop;

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
    'never_replayed', (
      select count(*)
      from identity_sync.quarantined_verdict as entry
      left join identity_sync.settlement
      on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
      where entry.closed_at is null
        and entry.outcome = 'lml_untrusted_library_id'
        and (replay_quarantined_verdicts.run_id is null or settlement.run_id = replay_quarantined_verdicts.run_id)
    )
  );
end;
$$;

revoke all on function identity_sync.replay_quarantined_verdicts(bigint) from public;

comment on function identity_sync.replay_quarantined_verdicts(bigint) is
  'Takes a run (NULL: all runs); replays its open quarantine entries and returns their report, with the counts replayed, made_due and never_replayed (untrusted). Raises LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/repair/replay_quarantined_verdicts.sql
--! Included functions/observe/identity_health.sql
-- Judges the service by its work, as the tables show it: the last successful run is recent, and open runs move unless
-- they wait for a set time. Only real runs over the catalogue count; before the first success the clock starts with the
-- first run, or with the asking process. Open runs are judged together: one may wait while another has all the calls.
create or replace function identity_sync.identity_health(
  max_age interval default '26 hours',
  max_silence interval default '2 minutes',
  process_started_at timestamptz default clock_timestamp()
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  asked_at constant timestamptz := clock_timestamp();
  tried record;
  unfinished record;
  age interval;
  silence interval;
begin
  perform identity_sync_private.check_argument(
    'max_age', max_age::text, max_age > interval '0', 'intervals longer than 0'
  );
  perform identity_sync_private.check_argument(
    'max_silence', max_silence::text, max_silence > interval '0', 'intervals longer than 0'
  );

  select min(run.started_at) as first_at, max(run.finished_at) filter (where run.outcome = 'completed') as succeeded_at
  into tried
  from identity_sync.run
  where not run.dry_run and run.scope <> 'ids';

  select
    count(*) as runs,
    greatest(max(run.started_at), max(moved.closed_at), max(moved.called_at), min(moved.claimable_at)) as moved_at
  into unfinished
  from identity_sync.run
  cross join lateral (
    select
      max(batch.closed_at) as closed_at,
      max(greatest(call.started_at, call.answered_at)) as called_at,
      -- When the first open batch may be claimed: at once, after a pause, or when the lease of a dead process ends.
      min(coalesce(greatest(batch.not_before, batch.leased_until, run.paused_until), '-infinity'))
        filter (where batch.closed_at is null) as claimable_at
    from identity_sync.batch
    left join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = run.run_id
  ) as moved
  where run.finished_at is null;

  age := asked_at - coalesce(tried.succeeded_at, tried.first_at, process_started_at);
  silence := greatest(asked_at - unfinished.moved_at, interval '0');

  return jsonb_build_object(
    'last_success', jsonb_build_object(
      'ok', age <= max_age,
      'finished_at', tried.succeeded_at,
      'age_seconds', floor(extract(epoch from age)),
      'limit_seconds', floor(extract(epoch from max_age))
    ),
    'lanes', jsonb_build_object(
      'ok', unfinished.runs = 0 or silence <= max_silence,
      'open_runs', unfinished.runs,
      'silent_seconds', case when unfinished.runs > 0 then floor(extract(epoch from silence)) end,
      'limit_seconds', floor(extract(epoch from max_silence))
    ),
    'planning_holds', (
      select coalesce(jsonb_agg(hold.name order by hold.name), '[]') from identity_sync.planning_hold as hold
    )
  );
end;
$$;

revoke all on function identity_sync.identity_health(interval, interval, timestamptz) from public;

comment on function identity_sync.identity_health(interval, interval, timestamptz) is
  'Takes the greatest age of the last successful run, the longest silence of open runs, and when the asking process began; returns last_success and lanes, each with ok, its seconds and their limit, and the names of planning_holds. Raises LS001 for a limit of zero or less.';
--! EndIncluded functions/observe/identity_health.sql
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
          when total.key like 'source\_rows\_%' then 'source_rows'
          when total.key like 'rows\_%' then 'rows'
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
      select '{"key_refused": 0, "brake": 0}'::jsonb || coalesce(jsonb_object_agg(hold.name, 1), '{}')
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
--! Included functions/observe/lost_columns.sql
-- Names what the station's tables lack by now of what this service reads and writes, so that a lost column is noticed
-- before a night's answers meet it. The preflight asks for the same columns before a migration.
create or replace function identity_sync.lost_columns()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select needed.relation || '.' || name
    from (
      values
        (
          'library',
          '{
            id, artist_id, artist_name, album_title, legacy_release_id, code_volume_letters, canonical_entity_id
          }'::text[]
        ),
        ('artists', '{id, artist_name}'),
        (
          'compilation_track_artist',
          '{
            id, library_id, artist_name, track_title, track_position, track_artist_id, track_artist_link_confidence,
            track_artist_link_method
          }'
        ),
        (
          'library_identity',
          '{
            library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid,
            musicbrainz_release_mbid, musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id,
            last_verified_at, method, confidence, agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id,
            bandcamp_id
          }'
        ),
        (
          'library_identity_source',
          '{library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes}'
        ),
        (
          'library_identity_history',
          '{
            history_id, library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid,
            musicbrainz_release_mbid, musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id,
            last_verified_at, method, confidence, agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id,
            bandcamp_id, superseded_reason, reason_category
          }'
        )
    ) as needed (relation, names)
    cross join lateral unnest(needed.names) as name
    where not exists (
      select
      from pg_attribute
      join pg_class on pg_class.oid = pg_attribute.attrelid
      join pg_namespace on pg_namespace.oid = pg_class.relnamespace
      where pg_namespace.nspname = 'wxyc_schema'
        and pg_class.relname = needed.relation
        and pg_attribute.attname = name
        and not pg_attribute.attisdropped
    )
    order by 1
  );
$$;

revoke all on function identity_sync.lost_columns() from public;

comment on function identity_sync.lost_columns() is
  'Returns the columns of wxyc_schema that this service needs and that are not there, as table.column.';
--! EndIncluded functions/observe/lost_columns.sql
--! Included functions/observe/missing_migrations.sql
-- Tells a program that its database lacks migrations, before the program meets a function that is missing.
-- It is SECURITY DEFINER, since the history belongs to the role that migrates, and volatile as each of that kind is.
create or replace function identity_sync.missing_migrations(known text[])
returns integer
language sql volatile security definer
set search_path = pg_catalog, pg_temp
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
-- The source "composed" stands for the main row.
create or replace view identity_sync.coverage as
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
  identity_sync_private.cohort_of(
    library.code_volume_letters,
    exists (select from wxyc_schema.compilation_track_artist as credit where credit.library_id = library.id)
  ) as cohort,
  count(*) as libraries
from (
  select known.library_id, 'composed' as source, known.method, known.confidence
  from wxyc_schema.library_identity as known
  union all
  select known.library_id, known.source, known.method, known.confidence
  from wxyc_schema.library_identity_source as known
) as stored
join wxyc_schema.library on library.id = stored.library_id
group by 1, 2, 3, 4
order by 1, 2, 3, 4;

comment on view identity_sync.coverage is
  'Library rows with an identity (source composed) and with each source, by method, band of confidence and cohort.';
--! EndIncluded views/coverage.sql
--! Included views/gate.sql
-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited. The view always has one row.
create or replace view identity_sync.gate as
select
  count(*) filter (where not counted.is_resolved and not counted.artist_is_resolved) as truly_unresolved,
  1000 as allowed,
  count(*) filter (where not counted.is_resolved and not counted.artist_is_resolved) < 1000 as is_complete,
  count(*) as libraries,
  count(*) filter (where counted.is_resolved) as resolved,
  count(*) filter (where not counted.is_resolved and counted.artist_is_resolved) as resolved_by_artist
from (
  select
    -- 0.70 as the column's type: as a double it is larger than the same confidence stored.
    coalesce(known.confidence >= 0.70::real, false) as is_resolved,
    coalesce(
      bool_or(known.confidence >= 0.70::real and known.method <> 'inherited') over (partition by library.artist_id),
      false
    ) as artist_is_resolved
  from wxyc_schema.library
  left join wxyc_schema.library_identity as known on known.library_id = library.id
) as counted;

comment on view identity_sync.gate is
  'One row: the library rows truly unresolved, how many the station allows, whether the backfill is complete, and the rest by how it is resolved.';
--! EndIncluded views/gate.sql
--! Included views/quarantine.sql
-- The open refusals, so that an operator sees why: one entry a library, its latest refusal.
create or replace view identity_sync.quarantine as
select
  entry.quarantine_id,
  entry.library_id,
  settlement.run_id,
  entry.outcome,
  entry.reason,
  entry.path,
  entry.value,
  entry.sqlstate,
  entry.message,
  entry.constraint_name,
  coalesce(entry.verdict::text, entry.verdict_text) as verdict,
  entry.origin,
  entry.verified_at,
  entry.quarantined_at
from identity_sync.quarantined_verdict as entry
left join identity_sync.settlement
  on settlement.settlement_id = coalesce(entry.first_settlement_id, entry.settlement_id)
where entry.closed_at is null;

comment on view identity_sync.quarantine is
  'Open refusals: the number to dismiss one by, the library where known, its run, outcome and reason, the path and value at fault, SQLSTATE and message where the database refused, and the verdict as it came.';
--! EndIncluded views/quarantine.sql
--! Included views/run_progress.sql
-- How far each run is, for a person or a dashboard. A finished run shows what its kept report counted.
create or replace view identity_sync.run_progress as
select
  run.run_id,
  run.scope,
  run.dry_run,
  run.planned,
  coalesce((run.report ->> 'scanned')::bigint, progress.done, 0) as done,
  progress.batches,
  progress.batches_in_flight,
  progress.batches_failed,
  progress.batches - progress.batches_closed as batches_left,
  run.started_at,
  run.finished_at,
  coalesce(run.finished_at, clock_timestamp()) - run.started_at as took,
  run.outcome,
  run.outcome_reason,
  run.opened_by
from identity_sync.run
cross join lateral (
  select
    sum(cardinality(batch.library_ids)) filter (where batch.is_done) as done,
    count(*) as batches,
    count(*) filter (where batch.closed_at is not null) as batches_closed,
    count(*) filter (where batch.state in ('in_flight', 'answered')) as batches_in_flight,
    count(*) filter (where batch.state = 'failed') as batches_failed
  from identity_sync.batch
  where batch.run_id = run.run_id
) as progress
order by run.run_id desc;

comment on view identity_sync.run_progress is
  'A row a run, the latest first: rows planned and done so far, batches by state, when it began and ended, and how.';
--! EndIncluded views/run_progress.sql

-- The database itself refuses a settlement that does not add up.

alter table identity_sync.settlement
  add constraint settlement_report_adds_up
  check (identity_sync_private.report_adds_up(report, requested, unrequested));
