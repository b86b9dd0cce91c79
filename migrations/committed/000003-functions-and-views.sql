--! Previous: sha1:5e683946ca8f34ca09d1cd76a4958ffda45e980a
--! Hash: sha1:3196c877fe857598813de7f4c7249d6fe4ce0fd4
--! Message: functions and views

-- Functions from the bottom room to the top one, then the views. Bodies are checked when they run, since they call one another.

set local check_function_bodies = off;

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
--! Included functions/wire/current_fingerprints.sql
-- The questions that LML would be asked now, in the order of the ids. Stable, so that a request made in the same
-- statement asks exactly these.
create or replace function identity_sync_private.current_fingerprints(library_ids integer[])
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
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
--! Included functions/wire/is_elastic.sql
-- LML adds sources and methods without asking, and both columns are texts: one that this service does not know is
-- written as it came, as long as a person can read it. Strict bands admit only what is known.
create or replace function identity_sync_private.is_elastic(word text, strict_bands boolean)
returns boolean
language sql immutable parallel safe
return not strict_bands
  and char_length(word) <= 64
  and identity_sync_private.has_name(word)
  and word !~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u00ad\\u061c]'
  and word !~ E'[\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff0-\\uffff]';

revoke all on function identity_sync_private.is_elastic(text, boolean) from public;

comment on function identity_sync_private.is_elastic(text, boolean) is
  'Takes the name of an unknown source or method, and whether bands are strict; returns whether it may be written: 1 to 64 characters, all printable and not all blank; false for NULL, and where bands are strict.';
--! EndIncluded functions/wire/is_elastic.sql
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
    or verdict @? '$.provenance[*].external_id ? (@ != null)';
$$;

revoke all on function identity_sync_private.names_an_artist(jsonb) from public;

comment on function identity_sync_private.names_an_artist(jsonb) is
  'Takes a verdict whose fields are valid one by one; returns whether it names an artist, or is no single_artist.';
--! EndIncluded functions/wire/names_an_artist.sql
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
          where position(mark || 'n' in member.key) > 0 or position(mark || 'n' in member.value::text) > 0;
        else
          select format('[%s]', item.position - 1) as step, item.value, false as is_found
          into child
          from json_array_elements(node) with ordinality as item (value, position)
          where position(mark || 'n' in item.value::text) > 0;
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
  is_large constant boolean := octet_length(body) > 2000000;
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
-- PostgreSQL keeps a string that is a whole document as an array of one: ->> 0 takes half of the time of #>> '{}'.
return case when jsonb_typeof(value) = 'string' then value ->> 0 when value <> 'null' then '' end;

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
  where settlement.batch_id = contract_breaches.batch_id
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
--! Included functions/report/holds_in_force.sql
-- A pause that has reached its end holds nothing, though its row stays until a person pauses or resumes again. Planning
-- and all that speaks of holds ask here.
create or replace function identity_sync_private.holds_in_force()
returns setof identity_sync.planning_hold
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select hold.*
  from identity_sync.planning_hold as hold
  where coalesce(hold.ends_at > clock_timestamp(), true);
$$;

revoke all on function identity_sync_private.holds_in_force() from public;

comment on function identity_sync_private.holds_in_force() is
  'Returns the holds that keep the cron from planning now.';
--! EndIncluded functions/report/holds_in_force.sql
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
          order by coalesce(batch.leased_until, batch.not_before)
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
      'of_run_id', run.of_run_id,
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
    || case when run.report ? 'left' then '{}' else (
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
    || case when run.report ? 'left' then '{}' else (
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
      when run.report ? 'left' then '{}'
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
  ordinal, library_id, outcome, null, null, null, null, null, null, null, null, null, 0, 0, 0, null, null, null, 0
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
  }'::text[];
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
--! Included functions/candidates/check_reason.sql
-- Asks a person for the reason of what is done by hand, since it is kept with it.
create or replace function identity_sync_private.check_reason(reason text)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.check_argument(
    'reason', quote_nullable(reason), not identity_sync.is_blank(reason), 'a text that says why; it is kept'
  );
end;
$$;

revoke all on function identity_sync_private.check_reason(text) from public;

comment on function identity_sync_private.check_reason(text) is
  'Takes the reason of an act by hand; raises LS001 where it is NULL or blank.';
--! EndIncluded functions/candidates/check_reason.sql
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
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id)
    and (library_ids is null or identity.library_id = any (library_ids));
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count, and the library ids to look at (NULL: all); returns the libraries that are due and why (never_asked, released, in_vain, stale, or renamed, also of one that is due for another reason).';
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
-- The due rows stand in an array, whose length a plan made anew knows: a thousand are looked up, a million are joined.
set plan_cache_mode = force_custom_plan
as $$
declare
  stale_before timestamptz;
  retry_before timestamptz;
  due_ids integer[];
begin
  perform identity_sync_private.validate_selection(
    scope, stale_days, unresolved_retry_days, partition_index, partition_count, ids
  );
  stale_before := clock_timestamp() - make_interval(days => stale_days);
  retry_before := clock_timestamp() - make_interval(days => unresolved_retry_days);

  if scope = 'due' then
    due_ids := array(
      select distinct due.library_id
      from identity_sync_private.due_libraries(
        stale_before, retry_before, include_null_canonical, identity_candidates.ids
      ) as due
    );
  end if;

  return query
  with reached as (
    select due.library_id
    from unnest(due_ids) as due (library_id)
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
    ),
    coalesce(earlier.written_by, '{}') || later.written_by
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
--! Included functions/write/record_run_by_hand.sql
-- A call of the writer by hand is a run that is over at once: it shows where runs do, and is undone by its number. No
-- lane carries it, nothing joins it, and Sentry is not told of it.
create or replace function identity_sync_private.record_run_by_hand(
  run_id bigint,
  scope text,
  started_at timestamptz,
  report jsonb,
  of_run_id bigint default null,
  ids integer[] default null
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  refused constant integer := identity_sync_private.refused_rows(report);
  scanned constant integer := (report ->> 'scanned')::integer;
  is_success constant boolean := identity_sync.report_is_success(report);
begin
  insert into identity_sync.run (
    run_id, scope, of_run_id, ids, dry_run, planned, report, opened_by, started_at, finished_at, reported_at, outcome,
    outcome_reason,
    -- What only planning knows.
    stale_days, unresolved_retry_days, include_null_canonical, partition_index, partition_count, strict_bands,
    batch_size, va_batch_size, deadline_at, scheduled
  )
  overriding system value
  select
    record_run_by_hand.run_id, record_run_by_hand.scope, record_run_by_hand.of_run_id, record_run_by_hand.ids, false,
    scanned, record_run_by_hand.report, session_user, record_run_by_hand.started_at, ended.at, ended.at,
    case when is_success then 'completed' else 'failed' end,
    case when not is_success then format('%s refused, %s settled', refused, scanned - refused) end,
    0, 0, false, 0, 1, false, 0, 0, ended.at, false
  from (select clock_timestamp()) as ended (at);

  raise notice using
    errcode = 'LS009',
    message = format('this is run %s (%s)', run_id, scope),
    hint = 'By this number it is looked at and undone.';
end;
$$;

revoke all on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) from public;

comment on function identity_sync_private.record_run_by_hand(
  bigint, text, timestamptz, jsonb, bigint, integer[]
) is
  'Takes the run''s number, what it was (repair, preview, replay, hold, release, undo), when it began, its report, the run it is about and the ids named; records it as over, and tells its number in a notice (LS009).';
--! EndIncluded functions/write/record_run_by_hand.sql
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
set jit = off
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
set jit = off
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
set jit = off
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
set jit = off
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
      judged.ordinal, judged.library_id, judged.outcome, judged.refusal,
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
    verdict, verdict_text, tracks_contract_version, origin, verified_at, strict_bands, closed_at, closed_reason,
    asked_as
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
    closing.reason,
    -- The question of this answer is remembered already.
    (
      select known.fingerprint
      from identity_sync.asked_as as known
      where known.library_id = refused.library_id and not identity_sync_private.is_repair(origin)
    )
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
          listed.aside ->> 'path', null,
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
        when refused.is_outranked then 'it was not asked for, and a refusal that can be replayed is open'
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
  renamed_ids integer[],
  run_id bigint,
  batch_id bigint
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
    settlement_id, run_id, batch_id, origin, verified_at, requested, unrequested, report, inserted_ids, history_ids,
    linked_credit_ids, positioned_credit_ids, written_by,
    unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen
  )
  overriding system value
  values (
    record_settlement.settlement_id, record_settlement.run_id, record_settlement.batch_id,
    record_settlement.origin, record_settlement.verified_at,
    coalesce(cardinality(requested_ids), scanned),
    coalesce(scanned - cardinality(requested_ids), 0),
    record_settlement.report,
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
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb,
  integer[], bigint, bigint
) from public;

comment on function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb,
  integer[], bigint, bigint
) is
  'Takes the settlement''s id, origin and time, the requested ids (NULL: none were), the attempts that were there before, each with held_identity, what was written, the report, the ids that were renamed since they were asked last, and the run and the batch (NULL: a call by hand) that it belongs to; records them.';
--! EndIncluded functions/write/record_settlement.sql
--! Included functions/write/remember_questions.sql
-- Remembers what libraries were asked by, for those whose answer counts, and tells which were asked otherwise before:
-- another answer to another question says nothing about LML. Nothing is written where the question is the one that was
-- asked before, which is nearly always so and which their sums tell.
create or replace function identity_sync_private.remember_questions(
  verdicts identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  known record;
  unanswered_ids integer[];
  renamed_ids integer[];
begin
  select count(*) as questions, sum(asked.fingerprint) as fingerprints
  into known
  from identity_sync.asked_as as asked
  where asked.library_id = any (requested);
  if known.fingerprints = (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) then
    return '{}'::integer[];
  end if;

  unanswered_ids := array(
    select verdict.library_id
    from unnest(verdicts) as verdict
    where verdict.outcome in ('stale_verdict', 'lml_cardinality_mismatch', 'lml_error', 'library_gone')
  );
  if known.questions = 0 then
    begin
      -- Looking for conflicts would cost as much again.
      insert into identity_sync.asked_as (library_id, fingerprint)
      select question.library_id, question.fingerprint
      from unnest(requested, asked_as) as question (library_id, fingerprint)
      where question.fingerprint is not null and question.library_id <> all (unanswered_ids);
      return '{}'::integer[];
    exception
      -- A library is named twice, or this transaction's snapshot is too old to see what another session wrote.
      when unique_violation then
        null;
    end;
  end if;

  renamed_ids := array(
    select question.library_id
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    join identity_sync.asked_as as asked on asked.library_id = question.library_id
    where question.fingerprint <> asked.fingerprint
  );

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
  return renamed_ids;
end;
$$;

revoke all on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes verdicts with their final outcomes, the ids that were requested and the fingerprints they were asked by (NULL: not known); remembers those that were answered, and returns the ids that were asked by another name or title before.';
--! EndIncluded functions/write/remember_questions.sql
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
set jit = off
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

    written.written_by := array(
      select known.xmin
      from wxyc_schema.compilation_track_artist as known
      where known.id = compared.changes[1].credit_id
    );
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
set jit = off
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
set jit = off
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
set jit = off
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
  'Takes library ids, why their main rows are about to change, and a category (verdict, repair, hold, release, undo); returns the history rows written.';
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
set jit = off
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
set jit = off
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
set jit = off
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
--! Included functions/write/writing_transaction.sql
-- Undoing tells by its transaction (xmin) whether a row is as a settlement left it. One row stands for all, since a
-- settlement's share is written in one subtransaction, whose number no function tells.
create or replace function identity_sync_private.writing_transaction(
  identities identity_sync_private.judged_verdict[],
  settlement_id bigint
)
returns xid[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  for place in 1..coalesce(cardinality(identities), 0) loop
    if identities[place].action in ('inserted', 'changed') or identities[place].version is not null then
      return array(
        select known.xmin
        from wxyc_schema.library_identity as known
        where known.library_id = identities[place].library_id
      );
    end if;
  end loop;
  return array(
    select superseded.xmin
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = writing_transaction.settlement_id
    order by superseded.superseded_id desc
    limit 1
  );
end;
$$;

revoke all on function identity_sync_private.writing_transaction(
  identity_sync_private.judged_verdict[], bigint
) from public;

comment on function identity_sync_private.writing_transaction(identity_sync_private.judged_verdict[], bigint) is
  'Takes identities just written and their settlement; returns the transaction of their rows, an empty array where nothing was written.';
--! EndIncluded functions/write/writing_transaction.sql
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

  written.written_by := identity_sync_private.writing_transaction(identities, settlement_id);
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
  chosen integer[] default null
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
    -- Hardly any library was released since it was asked, or is held, and their index is next to empty.
    if not is_repair
      and exists (
        select from identity_sync.attempt
        where attempt.library_id = any (judged_ids)
          and attempt.released_at is not null
          and (attempt.released_at > settle_verdicts.verified_at or attempt.outcome = 'held')
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
    renamed_ids := identity_sync_private.remember_questions(
      written.verdicts, requested, coalesce(asked_as, identity_sync_private.current_fingerprints(requested))
    );
  end if;
  report := identity_sync_private.build_report(written);
  perform identity_sync_private.record_settlement(
    this_settlement, stated_origin, verified_at, requested_ids, attempts_before, written, report,
    renamed_ids, run_id, batch_id
  );
  perform identity_sync_private.quarantine_verdicts(
    written.verdicts, results, set_aside, tracks_contract_version, stated_origin, verified_at, strict_bands,
    this_settlement
  );
  return report;
end;
$$;

revoke all on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
) from public;

comment on function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
) is
  'Takes what apply_identity_verdicts takes, the run and the batch that the settlement belongs to, and the libraries it is limited to (NULL: all); returns the report. Raises what apply_identity_verdicts raises.';
--! EndIncluded functions/write/settle_verdicts.sql
--! Included functions/write/apply_identity_verdicts.sql
-- A verdict becomes rows here and nowhere else. A call by hand is a run of its own, so that it can be looked at and
-- taken back; the service's answers belong to the run that asked. A second call with the same verdicts changes nothing.
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
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  report jsonb;
begin
  report := identity_sync_private.settle_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as, this_run
  );
  perform identity_sync_private.record_run_by_hand(this_run, 'repair', started_at, report);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; whether a confidence outside its method''s band, or what is not known, refuses its verdict; and the fingerprints that the ids were asked by, in their order (NULL: by their present names). Returns the report as jsonb, and tells the number of its run in a notice (LS009). Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58: 55P03 where another session holds one of the libraries for 5 seconds, or, unless a repair, a row of the station for half a second.';
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
-- to quarantine with LML's status and words. One whose library is gone, renamed or knows better leaves neither.
-- Settling it a second time changes nothing.
create or replace function identity_sync_private.apply_poison_input(
  batch_id bigint,
  library_id integer,
  reason text,
  body text,
  verified_at timestamptz,
  strict_bands boolean,
  run_id bigint default null
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
    coalesce(apply_poison_input.run_id, batch.run_id), batch.batch_id, false,
    identity_sync_private.service_origin(), apply_poison_input.verified_at, 1, 0,
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

revoke all on function identity_sync_private.apply_poison_input(
  bigint, integer, text, text, timestamptz, boolean, bigint
) from public;

comment on function identity_sync_private.apply_poison_input(
  bigint, integer, text, text, timestamptz, boolean, bigint
) is
  'Takes the batch that held the input, its library, LML''s status in words, its body, of which 10,000 characters are kept, the time and strictness of the call, and the run that it counts for (NULL: that of the batch); settles it and returns the report. Raises 55P03 where another session holds the library for 5 seconds.';
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
  report := identity_sync_private.settle_verdicts(
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
        where batch.run_id = other.run_id
          and batch.closed_at is null
          and batch.state in ('in_flight', 'answered')
          and batch.leased_by is not null
      )
  );
$$;

revoke all on function identity_sync_private.another_run_waits(bigint) from public;

comment on function identity_sync_private.another_run_waits(bigint) is
  'Takes a run; returns whether another run has a batch that is due, and no lane that carries one.';
--! EndIncluded functions/run/another_run_waits.sql
--! Included functions/run/close_identity_run.sql
-- Ends a run when its last batch is closed, and records the outcome: failed where a batch failed, more rows were
-- refused than not, none could be asked, or key, brake or breaker stopped it; stopped by a person or its deadline; else
-- completed, also where its budget of calls was used up. Sessions that close the last two batches at once wait for each
-- other at the run's row, so one of them sees nothing left.
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
        'all of its rows are held by another open run: %s', array_to_string(run.held_by_runs, ', ')
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
          '%s refused, %s settled',
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
  perform identity_sync_private.check_reason(reason);

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
  'Takes a run, the reason, who must have opened the run (NULL: anybody), and the cause (hand, deadline, budget, key, brake, breaker); abandons every batch that no lane holds, and ends the run once no call is in flight. Returns false where no such run is open. Raises LS001 for an empty reason.';
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
    -- A row that loses its mark has got no answer that counts, so it forgets what it was asked by.
    with lifted as (
      delete from identity_sync.attempt
      where attempt.settlement_id = memory.settlement_id and attempt.library_id = any (memory.library_ids)
      returning attempt.library_id
    )
    update identity_sync.asked_as
    set fingerprint = null
    where asked_as.library_id in (
      select lifted.library_id
      from lifted
      union all
      -- The mark of an identity is its own time, which stays with what was written.
      select unnest(memory.library_ids)
      where gauge = 'changed'
    );

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
-- What share is usual tells an overloaded LML from a catalogue that it knows little of. Only real runs over the
-- catalogue count, and none that the brake stopped.
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
  perform identity_sync_private.check_reason(reason);
  if until <= clock_timestamp() then
    raise exception using
      errcode = 'LS001',
      message = format('until is %s', until),
      hint = 'Allowed: a time to come, or NULL until it is resumed.';
  end if;

  insert into identity_sync.planning_hold as hold (name, reason, ends_at)
  values ('paused', format('paused by %s: %s', session_user, reason), nullif(until, 'infinity'))
  on conflict (name) do update
  set reason = excluded.reason, ends_at = excluded.ends_at, since = clock_timestamp(), alerted_at = null;
end;
$$;

revoke all on function identity_sync.pause_identity_planning(text, timestamptz) from public;

comment on function identity_sync.pause_identity_planning(text, timestamptz) is
  'Takes why the cron shall plan nothing, and until when (NULL: until resume_identity_planning). Raises LS001 for an empty reason or a time that is past.';
--! EndIncluded functions/run/pause_identity_planning.sql
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

  if scheduled and exists (select from identity_sync_private.holds_in_force()) then
    return null;
  end if;

  -- One planner at a time, so that no two runs cut the same library into their batches.
  lock table identity_sync.plan_mutex in exclusive mode;

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
    returning hold.name, hold.ends_at
  )
  select coalesce(array_agg(gone.name order by gone.name), '{}')
  into lifted
  from gone
  where coalesce(gone.ends_at > clock_timestamp(), true);
  return lifted;
end;
$$;

revoke all on function identity_sync.resume_identity_planning(text) from public;

comment on function identity_sync.resume_identity_planning(text) is
  'Takes the name of a hold on planning (paused, key_refused, brake; NULL: every one) and lifts it; returns the names of those that were in force. Raises LS001 for another name.';
--! EndIncluded functions/run/resume_identity_planning.sql
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
    insert into identity_sync.settlement (
      run_id, batch_id, dry_run, origin, verified_at, requested, unrequested, report
    )
    values (
      this_batch.run_id, apply_identity_batch.batch_id, true, service, came_at, cardinality(this_batch.library_ids),
      (settled ->> 'scanned')::integer - cardinality(this_batch.library_ids), settled
    );
  else
    settled := identity_sync_private.settle_verdicts(
      answer, this_batch.library_ids, service, came_at, this_batch.strict_bands, this_batch.asked_as,
      this_batch.run_id, apply_identity_batch.batch_id
    );
  end if;

  update identity_sync.settlement
  set
    is_answer = body is not null,
    unknown_names = identity_sync_private.unknown_names(results, settled ->> 'source_rows_unknown' <> '0')
  -- Bare, currval is volatile, and every settlement there ever was would be compared with it.
  where settlement.settlement_id = (select currval('identity_sync.settlement_settlement_id_seq'));

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
-- Each kind has a statement and an index of its own, so that no claim reads all batches that are open.
create or replace function identity_sync_private.reopen_orphaned_batches()
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
-- A plan made while the tables were nearly empty reads them whole.
set enable_seqscan = off
set jit = off
as $$
  select identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from (
    select batch.batch_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where batch.closed_at is null
      and batch.state in ('in_flight', 'answered')
      and batch.leased_until < clock_timestamp()
    order by batch.batch_id
    for no key update skip locked
  ) as orphan;

  select identity_sync_private.reopen_identity_batch(orphan.batch_id)
  from (
    select batch.batch_id
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    where run.finished_at is null
      and run.stop_reason is not null
      and batch.closed_at is null
      and batch.state = 'open'
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
      and kept.state = 'answered'
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
    -- It has gone since it was requested, and what is never requested again needs no mark.
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
  -- A claim whose answer the lane never got, as its session was cut, has sent nothing.
  where lml_call.answered_at is null
    and lml_call.call_id = (
      select max(sent.call_id)
      from identity_sync.lml_call as sent
      where sent.batch_id = finish_identity_call.batch_id and sent.leased_by = finish_identity_call.leased_by
    );

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
-- Deletes what is of no use any more: batches of runs that ended long ago with their calls and kept answers, quarantine
-- that was closed long ago, marks of libraries that are gone, workers that are gone, and their jobs. What undoing needs
-- stays for ever: history, superseded rows and settlements. A run keeps its report.
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

  -- Nothing can be replayed or asked for them any more.
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
  where greatest(worker.asked_at, worker.seen_at) < keep_after;

  -- The job of a lane whose process has died stays locked. Enqueued again it is spent, and graphile-worker never
  -- deletes it.
  perform graphile_worker.complete_jobs(
    array(
      select jobs.id
      from graphile_worker.jobs
      where jobs.task_identifier = 'carry_identity_run'
        and jobs.attempts >= jobs.max_attempts
        and jobs.updated_at < keep_after
    )
  );
end;
$$;

revoke all on function identity_sync.prune_identity_sync(integer) from public;

comment on function identity_sync.prune_identity_sync(integer) is
  'Takes for how many days batches, answers and closed quarantine are kept; deletes what is older, with the jobs that dead processes have left, lifts the marks of libraries that are gone and closes their quarantine. Raises LS001 for a value out of range.';
--! EndIncluded functions/upkeep/prune_identity_sync.sql
--! Included functions/upkeep/rescue_identity_runs.sql
-- Keeps the open runs going when processes have died: frees leases that ran out, stops runs past their deadline, ends
-- those that have nothing unfinished, and enqueues lanes for the rest, which a worker that has just joined takes up.
-- Calling it often does no harm, and tells that the calling worker lives.
create or replace function identity_sync.rescue_identity_runs(
  lanes integer,
  worker text default null,
  version text default null,
  plan_cron text default null
)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  open identity_sync.run;
  still_open integer := 0;
begin
  -- Wait for claims, so that no lease is freed while a claim renews it; and before the worker's row is held, which its
  -- claims write.
  lock table identity_sync.claim_mutex in exclusive mode;

  if worker is not null then
    insert into identity_sync.worker as known (name, turns, concurrency, version, plan_cron, seen_at)
    values (
      rescue_identity_runs.worker, 0, lanes, rescue_identity_runs.version, rescue_identity_runs.plan_cron,
      clock_timestamp()
    )
    on conflict (name) do update
    set version = excluded.version, plan_cron = excluded.plan_cron, seen_at = excluded.seen_at;
  end if;

  perform identity_sync_private.reopen_orphaned_batches();

  perform identity_sync_private.end_overdue_runs();

  for open in
    select run.* from identity_sync.run where run.finished_at is null order by run.run_id for no key update skip locked
  loop
    perform identity_sync_private.close_identity_run(open.run_id);
    -- Answers that a stopping run has kept wait for no pause.
    perform identity_sync.enqueue_lanes(
      open.run_id, lanes, case when open.stop_cause is null then open.paused_until end
    );
    still_open := still_open + 1;
  end loop;

  return still_open;
end;
$$;

revoke all on function identity_sync.rescue_identity_runs(integer, text, text, text) from public;

comment on function identity_sync.rescue_identity_runs(integer, text, text, text) is
  'Takes the lanes to enqueue for each open run, and of the calling worker its name (NULL: none), version and crontab time of planning (NULL: it plans nothing); returns how many runs are open.';
--! EndIncluded functions/upkeep/rescue_identity_runs.sql
--! Included functions/repair/apply_identity_preview.sql
-- Writes what a dry run previewed, the answers that it kept and the inputs that LML refused, without a second call to
-- LML. Each keeps its age, so a verdict that a newer one has overtaken since is a stale_verdict. A second time it
-- changes nothing.
create or replace function identity_sync.apply_identity_preview(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  previewed record;
  unknown_ids integer[];
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

  select array_agg(named.id order by named.id)
  into unknown_ids
  from unnest(ids) as named (id)
  where not exists (
    select from identity_sync.batch
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and named.id = any (batch.library_ids)
  );
  if unknown_ids is not null then
    raise exception using
      errcode = 'LS001',
      message = format('ids that dry run %s did not preview: %s', run_id, array_to_string(unknown_ids[:100], ', ')),
      hint = 'Look at what it would change, and name ids from there.';
  end if;

  for previewed in
    select
      batch.batch_id,
      named.library_ids,
      case when batch.asked_as is not null then named.asked_as end as asked_as,
      batch.failure as poison,
      coalesce(batch.answer, '[]') as answer,
      coalesce(batch.answered_at, batch.closed_at) as answered_at,
      run.strict_bands
    from identity_sync.batch
    join identity_sync.run on run.run_id = batch.run_id
    cross join lateral (
      select array_agg(listed.id order by listed.place), array_agg(listed.fingerprint order by listed.place)
      from unnest(batch.library_ids, batch.asked_as) with ordinality as listed (id, fingerprint, place)
      where apply_identity_preview.ids is null or listed.id = any (apply_identity_preview.ids)
    ) as named (library_ids, asked_as)
    where batch.run_id = apply_identity_preview.run_id
      and batch.state in ('applied', 'empty', 'poisoned')
      and (apply_identity_preview.ids is null or batch.library_ids && apply_identity_preview.ids)
    order by batch.batch_id
  loop
    if previewed.poison is not null then
      report := identity_sync_private.add_reports(
        report,
        identity_sync_private.apply_poison_input(
          previewed.batch_id, previewed.library_ids[1], previewed.poison, null, previewed.answered_at,
          previewed.strict_bands, this_run
        )
      );
      continue;
    end if;

    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.settle_verdicts(
        response => identity_sync.read_identity_answer(previewed.answer, cardinality(previewed.library_ids)),
        requested => previewed.library_ids,
        origin => identity_sync_private.service_origin(),
        verified_at => previewed.answered_at,
        strict_bands => previewed.strict_bands,
        asked_as => previewed.asked_as,
        run_id => this_run,
        chosen => apply_identity_preview.ids
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(this_run, 'preview', started_at, report, run_id, ids);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_preview(bigint, integer[]) from public;

comment on function identity_sync.apply_identity_preview(bigint, integer[]) is
  'Takes a dry run that has finished and the libraries to write (NULL: all); applies its kept answers, quarantines its poison inputs and returns the report. Raises LS001 for a library that was not previewed, LS002 for an unknown run, LS004 where the run was no dry run, has not finished, got no answer, or has lost its answers.';
--! EndIncluded functions/repair/apply_identity_preview.sql
--! Included functions/repair/ask_again.sql
-- Forgets what libraries were asked by, so that they are due whatever holds. One that is due anyway, since it was never
-- asked for all that is known, needs no such trace; the mark of another answer says that it was.
create or replace function identity_sync_private.ask_again(library_ids integer[])
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.asked_as as known (library_id, fingerprint)
  select library.id, null
  from wxyc_schema.library
  left join wxyc_schema.library_identity as identity on identity.library_id = library.id
  where library.id = any (ask_again.library_ids)
    and (
      identity.library_id is not null
      or library.canonical_entity_id is null
      or exists (select from identity_sync.attempt where attempt.library_id = library.id)
    )
  order by library.id
  on conflict (library_id) do update
  set fingerprint = null
  where known.fingerprint is not null;
$$;

revoke all on function identity_sync_private.ask_again(integer[]) from public;

comment on function identity_sync_private.ask_again(integer[]) is
  'Takes library ids; makes those due that would not be so after their rows or marks were taken back.';
--! EndIncluded functions/repair/ask_again.sql
--! Included functions/repair/compared_columns.sql
-- The columns that a diff compares, of each kind of row: those that an operator reads. It leaves out keys, times, and
-- what only the history has.
create or replace function identity_sync_private.compared_columns(stored_row text)
returns text[]
language sql immutable parallel safe
return case split_part(stored_row, ' ', 1)
  when 'identity' then array[
    'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
    'discogs_master_id', 'discogs_release_id', 'musicbrainz_release_group_mbid', 'musicbrainz_release_mbid',
    'musicbrainz_recording_mbid', 'method', 'confidence', 'agreement_sources', 'notes'
  ]
  when 'source' then array['external_id', 'method', 'confidence', 'boost_sources', 'notes']
  else array['track_artist_id', 'track_artist_link_confidence', 'track_artist_link_method', 'track_position']
end;

revoke all on function identity_sync_private.compared_columns(text) from public;

comment on function identity_sync_private.compared_columns(text) is
  'Takes the name of a stored row (identity, source and its name, track and its id); returns the columns to compare.';
--! EndIncluded functions/repair/compared_columns.sql
--! Included functions/repair/libraries_written.sql
-- The libraries whose identity or source rows a settlement wrote; those that it only confirmed are not among them.
create or replace function identity_sync_private.libraries_written(settlement_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
-- Plans outlive the empty tables that they were made for.
set enable_seqscan = off
set jit = off
as $$
  select distinct written.library_id
  from (
    select unnest(settlement.inserted_ids) as library_id
    from identity_sync.settlement
    where settlement.settlement_id = libraries_written.settlement_id
    union all
    select history.library_id
    from wxyc_schema.library_identity_history as history
    where history.history_id = any (
      array(
        select unnest(settlement.history_ids)
        from identity_sync.settlement
        where settlement.settlement_id = libraries_written.settlement_id
      )
    )
    union all
    select superseded.library_id
    from identity_sync.superseded_source as superseded
    where superseded.settlement_id = libraries_written.settlement_id
    -- The fence: without it the planner may read a whole index for the order that "distinct" likes.
    offset 0
  ) as written;
$$;

revoke all on function identity_sync_private.libraries_written(bigint) from public;

comment on function identity_sync_private.libraries_written(bigint) is
  'Takes a settlement; returns each library of which it inserted, changed or removed a main row or a source row.';
--! EndIncluded functions/repair/libraries_written.sql
--! Included functions/repair/libraries_of_run.sql
-- All libraries that undoing a run may touch, so that they can be held at once: written, linked, or marked by it.
create or replace function identity_sync_private.libraries_of_run(run_id bigint)
returns setof integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with own as materialized (
    select settlement.settlement_id, settlement.linked_credit_ids
    from identity_sync.settlement
    where settlement.run_id = libraries_of_run.run_id and not settlement.dry_run
  )
  select listed.library_id
  from own
  cross join lateral identity_sync_private.libraries_written(own.settlement_id) as listed (library_id)
  union
  select credit.library_id
  from own
  cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
  join wxyc_schema.compilation_track_artist as credit on credit.id = linked.credit_id
  union
  select superseded.library_id
  from own
  join identity_sync.superseded_track_link as superseded on superseded.settlement_id = own.settlement_id
  union
  select attempt.library_id
  from own
  join identity_sync.attempt on attempt.settlement_id = own.settlement_id;
$$;

revoke all on function identity_sync_private.libraries_of_run(bigint) from public;

comment on function identity_sync_private.libraries_of_run(bigint) is
  'Takes a run; returns each library of which it wrote an identity, a source row, a track link or a mark.';
--! EndIncluded functions/repair/libraries_of_run.sql
--! Included functions/repair/links_of_run.sql
-- The credits that a run linked, each as it was and as it became. A first link had nothing before, and its position
-- counts only where the run filled it.
create or replace function identity_sync_private.links_of_run(run_id bigint, ids integer[])
returns table (library_id integer, stored_row text, old_content jsonb, new_content jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = links_of_run.run_id and not settlement.dry_run
  ),
  known_credit as (
    select * from wxyc_schema.compilation_track_artist as known where known.library_id = any (ids)
  ),
  kept_link as (
    select * from identity_sync.superseded_track_link as kept where kept.library_id = any (ids)
  ),
  link as (
    select own.settled_at, known.library_id, linked.credit_id, '{}'::jsonb as old_content,
      linked.credit_id = any (own.positioned_credit_ids) as is_positioned
    from own
    cross join lateral unnest(own.linked_credit_ids) as linked (credit_id)
    join known_credit as known on known.id = linked.credit_id
    union all
    select own.settled_at, superseded.library_id, superseded.credit_id, to_jsonb(superseded), true
    from own
    join kept_link as superseded on superseded.settlement_id = own.settlement_id
  )
  select distinct on (link.credit_id, link.settled_at)
    link.library_id, 'track ' || link.credit_id, link.old_content,
    coalesce(to_jsonb(later), to_jsonb(known), '{}')
      - (case when link.is_positioned then '{}' else '{track_position}' end)::text[]
  from link
  left join kept_link as later
    on later.library_id = link.library_id
    and later.credit_id = link.credit_id
    and later.superseded_at > link.settled_at
  left join known_credit as known on known.id = link.credit_id
  order by link.credit_id, link.settled_at, later.superseded_at;
end;
$$;

revoke all on function identity_sync_private.links_of_run(bigint, integer[]) from public;

comment on function identity_sync_private.links_of_run(bigint, integer[]) is
  'Takes a real run and the libraries that it wrote; returns one row a credit that it linked, relinked or unlinked, with its old and new content.';
--! EndIncluded functions/repair/links_of_run.sql
--! Included functions/repair/changes_of_run.sql
-- What a run changed, read from what it kept: what a row was stands in the history, what it became in the next entry
-- there, or in the row itself where nothing has changed it since. last_verified_at moves with every confirmation, and
-- is left out.
create or replace function identity_sync_private.changes_of_run(run_id bigint)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- Rows are found through their keys and joined once by hash, however many the planner expects.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
  ids constant integer[] := array(select identity_sync_private.libraries_of_run(changes_of_run.run_id));
begin
  return query
  with own as materialized (
    select settlement.*
    from identity_sync.settlement
    where settlement.run_id = changes_of_run.run_id and not settlement.dry_run
  ),
  known_identity as (
    select * from wxyc_schema.library_identity as known where known.library_id = any (ids)
  ),
  known_source as (
    select * from wxyc_schema.library_identity_source as known where known.library_id = any (ids)
  ),
  kept_source as (
    select * from identity_sync.superseded_source as kept where kept.library_id = any (ids)
  ),
  inserted as (
    select own.settlement_id, own.settled_at, own.verified_at, own.origin, listed.library_id
    from own
    cross join lateral unnest(own.inserted_ids) as listed (library_id)
  ),
  -- Each identity with the time at which it was left behind: the oldest one after a settlement is what that wrote.
  archived as materialized (
    select history.library_id, history.history_id, to_jsonb(history) as content,
      coalesce(keeping.settled_at, history.superseded_at) as left_at
    from wxyc_schema.library_identity_history as history
    join unnest(ids) as named (id) on named.id = history.library_id
    left join (
      select settlement.settled_at, kept.history_id
      from identity_sync.settlement
      cross join lateral unnest(settlement.history_ids) as kept (history_id)
    ) as keeping on keeping.history_id = history.history_id
  ),
  written as (
    select inserted.settled_at, inserted.library_id, '{}'::jsonb as old_content
    from inserted
    union all
    select own.settled_at, archived.library_id, archived.content
    from own
    cross join lateral unnest(own.history_ids) as kept (history_id)
    join archived on archived.history_id = kept.history_id
  ),
  identity as (
    select distinct on (written.library_id, written.settled_at)
      written.library_id, 'identity' as stored_row, written.old_content,
      coalesce(archived.content, to_jsonb(known)) as new_content
    from written
    left join archived on archived.library_id = written.library_id and archived.left_at > written.settled_at
    left join known_identity as known on known.library_id = written.library_id
    order by written.library_id, written.settled_at, archived.left_at, archived.history_id
  ),
  -- A row that was not there is kept with all of it NULL.
  source as (
    select distinct on (superseded.superseded_id)
      superseded.library_id, 'source ' || superseded.source as stored_row,
      to_jsonb(superseded) as old_content, coalesce(to_jsonb(later), to_jsonb(known)) as new_content
    from own
    join kept_source as superseded on superseded.settlement_id = own.settlement_id
    left join kept_source as later
      on later.library_id = superseded.library_id
      and later.source = superseded.source
      and later.superseded_id > superseded.superseded_id
    left join known_source as known
      on known.library_id = superseded.library_id and known.source = superseded.source
    order by superseded.superseded_id, later.superseded_id
  ),
  -- Sources of a new identity are not listed: they are those of its time and origin.
  inserted_source as (
    select distinct on (stored.library_id, stored.source)
      stored.library_id, 'source ' || stored.source as stored_row, '{}'::jsonb as old_content,
      stored.content as new_content
    from inserted
    join (
      select known.library_id, known.source, known.last_verified_at, known.notes, to_jsonb(known) as content
      from known_source as known
      union all
      select kept.library_id, kept.source, kept.last_verified_at, kept.notes, to_jsonb(kept)
      from kept_source as kept
    ) as stored
      on stored.library_id = inserted.library_id
      and stored.last_verified_at = inserted.verified_at
      and stored.notes = inserted.origin
    left join kept_source as listed
      on listed.settlement_id = inserted.settlement_id
      and listed.library_id = stored.library_id
      and listed.source = stored.source
    where listed.superseded_id is null
    order by stored.library_id, stored.source
  ),
  changed as (
    select identity.library_id, identity.stored_row, identity.old_content, identity.new_content from identity
    union all
    select source.library_id, source.stored_row, source.old_content, source.new_content from source
    union all
    select listed.library_id, listed.stored_row, listed.old_content, listed.new_content from inserted_source as listed
    union all
    select link.library_id, link.stored_row, link.old_content, link.new_content
    from identity_sync_private.links_of_run(changes_of_run.run_id, ids) as link
  )
  select
    changed.library_id, changed.stored_row, field.name, changed.old_content ->> field.name,
    changed.new_content ->> field.name
  from changed
  cross join lateral unnest(identity_sync_private.compared_columns(changed.stored_row)) as field (name)
  where changed.old_content ->> field.name is distinct from changed.new_content ->> field.name;
end;
$$;

revoke all on function identity_sync_private.changes_of_run(bigint) from public;

comment on function identity_sync_private.changes_of_run(bigint) is
  'Takes a real run; returns one row a column that it changed, with its old and new value.';
--! EndIncluded functions/repair/changes_of_run.sql
--! Included functions/repair/diff_snapshots.sql
-- Two results of identity_snapshot side by side: every column that differs, old beside new, in reading order.
-- A row that was added has no old values, a row that was removed has no new ones.
create or replace function identity_sync.diff_snapshots(before jsonb, after jsonb)
returns table (library_id integer, stored_row text, column_name text, old_value text, new_value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with old_cell as (
    select library.key::integer as library_id, stored.key as stored_row, field.key as column_name, field.value
    from jsonb_each(before) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
  ),
  new_cell as (
    select library.key::integer as library_id, stored.key as stored_row, field.key as column_name, field.value
    from jsonb_each(after) as library
    cross join lateral jsonb_each(library.value) as stored
    cross join lateral jsonb_each_text(stored.value) as field
  )
  select library_id, stored_row, column_name, old_cell.value, new_cell.value
  from old_cell
  full join new_cell using (library_id, stored_row, column_name)
  where old_cell.value is distinct from new_cell.value
  order by library_id, stored_row, column_name;
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
  perform identity_sync_private.check_reason(reason);

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
              else (known.xmin = any (this_settlement.written_by) or known.xmin = any (ours))
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
  kept_history_ids integer[];
begin
  perform identity_sync_private.check_reason(reason);
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
--! Included functions/repair/hold_written_rows.sql
-- Holds the rows of a settlement's libraries against writers who take no lock of ours, so that what is found undoable
-- is undone as it was found.
create or replace function identity_sync_private.hold_written_rows(settlement_id bigint, ids integer[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  written constant integer[] := array(
    select listed.library_id
    from identity_sync_private.libraries_written(hold_written_rows.settlement_id) as listed (library_id)
    where ids is null or listed.library_id = any (ids)
    order by listed.library_id
  );
  credit_ids constant integer[] := array(
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = hold_written_rows.settlement_id
    union
    select unnest(settlement.linked_credit_ids)
    from identity_sync.settlement
    where settlement.settlement_id = hold_written_rows.settlement_id
  );
begin
  perform from wxyc_schema.library_identity as known
  where known.library_id = any (written)
  order by known.library_id
  for update;
  perform from wxyc_schema.library_identity_source as known
  where known.library_id = any (written)
  order by known.library_id, known.source
  for update;
  perform from wxyc_schema.compilation_track_artist as known
  where known.id = any (credit_ids) and (ids is null or known.library_id = any (ids))
  order by known.id
  for no key update;
end;
$$;

revoke all on function identity_sync_private.hold_written_rows(bigint, integer[]) from public;

comment on function identity_sync_private.hold_written_rows(bigint, integer[]) is
  'Takes a settlement and the libraries to undo (NULL: all); locks their main rows, source rows and credits until the transaction ends. Raises 55P03 where another session holds one for longer than lock_timeout.';
--! EndIncluded functions/repair/hold_written_rows.sql
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
--! Included functions/repair/identity_run_changes.sql
-- What a run changed, or what applying a dry run would change: the preview is applied and rolled back, so that the
-- diff meets what the database would refuse. Ids that name somebody else come first, then ids that come or go, then
-- the rest. Where no run is named, it is what the session's latest call by hand changed.
create or replace function identity_sync.identity_run_changes(run_id bigint default null)
returns table (
  library_id integer,
  artist_name text,
  album_title text,
  stored_row text,
  column_name text,
  old_value text,
  new_value text
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set client_min_messages = warning
as $$
declare
  seen_run constant bigint := coalesce(run_id, currval('identity_sync.run_run_id_seq'));
  is_dry_run constant boolean := (select run.dry_run from identity_sync.run where run.run_id = seen_run);
  changes jsonb[];
begin
  if is_dry_run is null then
    raise exception using errcode = 'LS002', message = format('there is no run %s', seen_run);
  end if;

  if is_dry_run then
    begin
      perform identity_sync.apply_identity_preview(seen_run);
      changes := array(
        select to_jsonb(changed)
        from identity_sync_private.changes_of_run(currval('identity_sync.run_run_id_seq')) as changed
      );
      raise exception using errcode = 'LS007', message = 'the dry run is over, its changes are returned';
    exception
      when sqlstate 'LS007' then null;
    end;
  end if;

  return query
  select
    changed.library_id, library.artist_name::text, library.album_title::text, changed.stored_row, changed.column_name,
    changed.old_value, changed.new_value
  from (
    select * from identity_sync_private.changes_of_run(seen_run) where not is_dry_run
    union all
    select previewed.*
    from unnest(changes) as listed (change)
    cross join lateral jsonb_to_record(listed.change) as previewed (
      library_id integer, stored_row text, column_name text, old_value text, new_value text
    )
  ) as changed
  left join wxyc_schema.library on library.id = changed.library_id
  cross join lateral (
    select
      case
        when changed.column_name !~ '(_id|_qid|_mbid)$' then 3
        when changed.old_value is null or changed.new_value is null then 2
        else 1
      end as place
  ) as ranked
  order by ranked.place, changed.library_id, changed.stored_row, changed.column_name;
end;
$$;

revoke all on function identity_sync.identity_run_changes(bigint) from public;

comment on function identity_sync.identity_run_changes(bigint) is
  'Takes a run (NULL: what the session has just done by hand); returns one row a column that it changed, or that applying a dry run would change, old beside new, each with the library''s artist and title. Raises LS002 for an unknown run, 55000 where the session has done nothing, and for a dry run what apply_identity_preview raises.';
--! EndIncluded functions/repair/identity_run_changes.sql
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
    from jsonb_array_elements(identity_sync_private.results_of(response)) as listed (verdict)
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
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  this_settlement constant bigint := nextval('identity_sync.settlement_settlement_id_seq');
  released_at constant timestamptz := clock_timestamp();
  is_shared boolean;
  kept_history_ids integer[];
  removals identity_sync_private.source_change[];
  removed_sources integer;
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
-- Makes main rows and source rows what they were before a settlement, one statement a kind of change. What goes or
-- changes is kept first, as by the writer, so that an undo can be undone. Columns of other writers stay as they are.
create or replace function identity_sync_private.undo_identities(
  settlement_id bigint,
  undoings identity_sync_private.undoing[],
  undo_settlement_id bigint,
  reason text,
  out inserted_ids integer[],
  out history_ids integer[],
  out removed integer,
  out restored integer,
  out sources_removed integer,
  out sources_restored integer
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
    where settlement.settlement_id = undo_identities.settlement_id
  );
  ids constant integer[] := array(select undoing.library_id from unnest(undoings) as undoing);
  changes identity_sync_private.source_change[];
  touched integer;
begin
  history_ids := identity_sync_private.archive_identities(
    array(
      select undoing.library_id
      from unnest(undoings) as undoing
      where undoing.is_there and (undoing.was_absent or undoing.history_id is not null)
    ),
    reason, 'undo'
  );

  delete from wxyc_schema.library_identity as known
  using unnest(undoings) as undoing
  where undoing.was_absent and known.library_id = undoing.library_id;
  get diagnostics removed = row_count;

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

  with returned as (
    insert into wxyc_schema.library_identity (
      library_id, discogs_master_id, discogs_release_id, musicbrainz_release_group_mbid, musicbrainz_release_mbid,
      musicbrainz_recording_mbid, wikidata_qid, spotify_id, apple_music_id, last_verified_at, method, confidence,
      agreement_sources, notes, discogs_artist_id, musicbrainz_artist_id, bandcamp_id
    )
    select
      history.library_id, history.discogs_master_id, history.discogs_release_id, history.musicbrainz_release_group_mbid,
      history.musicbrainz_release_mbid, history.musicbrainz_recording_mbid, history.wikidata_qid, history.spotify_id,
      history.apple_music_id, history.last_verified_at, history.method, history.confidence,
      history.agreement_sources, history.notes, history.discogs_artist_id, history.musicbrainz_artist_id,
      history.bandcamp_id
    from unnest(undoings) as undoing
    join wxyc_schema.library_identity_history as history on history.history_id = undoing.history_id
    where not undoing.is_there
    returning library_id
  )
  select coalesce(array_agg(returned.library_id), '{}')
  into inserted_ids
  from returned;
  restored := restored + cardinality(inserted_ids);

  -- What the settlement inserted goes; what it changed was kept, and comes back.
  changes := array(
    select
      row(
        known.library_id, known.source, superseded.external_id, superseded.method, superseded.confidence,
        case superseded.action when 'changed' then 'changed' else 'removed' end, known.ctid, false
      )::identity_sync_private.source_change
    from wxyc_schema.library_identity_source as known
    left join identity_sync.superseded_source as superseded
      on superseded.library_id = known.library_id
      and superseded.source = known.source
      and superseded.settlement_id = undo_identities.settlement_id
    where known.library_id = any (ids) and known.xmin = any (written_by)
  );
  perform identity_sync_private.archive_sources(changes, undo_settlement_id, reason);

  delete from wxyc_schema.library_identity_source as known
  using unnest(changes) as change
  where change.action = 'removed' and known.library_id = change.library_id and known.source = change.source;
  get diagnostics sources_removed = row_count;

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
  where superseded.settlement_id = undo_identities.settlement_id
    and superseded.action = 'changed'
    and known.library_id = superseded.library_id
    and known.source = superseded.source;
  get diagnostics sources_restored = row_count;

  with returned as (
    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, boost_sources, notes
    )
    select
      superseded.library_id, superseded.source, superseded.external_id, superseded.method, superseded.confidence,
      superseded.last_verified_at, superseded.boost_sources, superseded.notes
    from unnest(ids) as undone (library_id)
    join identity_sync.superseded_source as superseded on superseded.library_id = undone.library_id
    where superseded.settlement_id = undo_identities.settlement_id and superseded.action = 'removed'
    returning library_id, source
  )
  insert into identity_sync.superseded_source (settlement_id, library_id, source, action, superseded_reason)
  select undo_settlement_id, returned.library_id, returned.source, 'inserted', reason
  from returned;
  get diagnostics touched = row_count;
  sources_restored := sources_restored + touched;
end;
$$;

revoke all on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) from public;

comment on function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
) is
  'Takes a settlement, what of it can be taken back, the settlement of the undo and its reason; returns the main rows inserted and kept, and the counts of rows removed and restored.';
--! EndIncluded functions/repair/undo_identities.sql
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
  select count(*), coalesce(array_agg(distinct undone.library_id), '{}')
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
  tracks record;
  undone_ids integer[];
  transaction xid;
begin
  perform identity_sync_private.hold_written_rows(settlement_id, ids);
  found_rows := identity_sync_private.find_undoable(settlement_id, ids, written_later, undone_before, ours);
  undoings := array(select undoing from unnest(found_rows) as undoing where undoing.fate = 'undone');

  select * into identities
  from identity_sync_private.undo_identities(settlement_id, undoings, this_settlement, reason);
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
    'source', jsonb_build_object('removed', identities.sources_removed, 'restored', identities.sources_restored),
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
--! Included functions/repair/writes_since.sql
-- What others have done since a run: the libraries that another run wrote later, those that an undo of this run took
-- back last, and the transactions of the writer, which tell its confirmations from changes by somebody else.
-- Settlements of one library are in order of settled_at, since each is made while the library is held.
create or replace function identity_sync_private.writes_since(
  run_id bigint,
  out written_later integer[],
  out undone_before integer[],
  out undone_by xid[],
  out ours xid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  began_at constant timestamptz := (
    select min(settlement.settled_at)
    from identity_sync.settlement
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
  );
  -- An undo may have left a main row as what it took back, or somebody of ours since, had left it.
  ours_since constant timestamptz := (
    with recursive undone as (
      select writes_since.run_id as run_id
      union
      select run.of_run_id
      from undone
      join identity_sync.run on run.run_id = undone.run_id and run.scope = 'undo'
    )
    select min(settlement.settled_at)
    from undone
    join identity_sync.settlement on settlement.run_id = undone.run_id
    where not settlement.dry_run
  );
begin
  with written as (
    select listed.library_id, max(settlement.settled_at) as at
    from identity_sync.settlement
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.run_id = writes_since.run_id and not settlement.dry_run
    group by listed.library_id
  ),
  later as (
    select
      listed.library_id,
      max(settlement.settled_at) as at,
      max(settlement.settled_at)
        filter (where run.scope = 'undo' and run.of_run_id = writes_since.run_id) as undone_at
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id) as listed (library_id)
    where settlement.settled_at > began_at
      and settlement.run_id is distinct from writes_since.run_id
      and not settlement.dry_run
    group by listed.library_id
  )
  select
    coalesce(array_agg(written.library_id) filter (where later.at is distinct from later.undone_at), '{}'),
    coalesce(array_agg(written.library_id) filter (where later.at = later.undone_at), '{}')
  into written_later, undone_before
  from written
  join later on later.library_id = written.library_id and later.at > written.at;

  select coalesce(array_agg(listed.written_by), '{}')
  into ours
  from identity_sync.settlement
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where settlement.settled_at >= ours_since;

  select coalesce(array_agg(listed.written_by), '{}')
  into undone_by
  from identity_sync.run
  join identity_sync.settlement on settlement.run_id = run.run_id
  cross join lateral unnest(settlement.written_by) as listed (written_by)
  where run.scope = 'undo' and run.of_run_id = writes_since.run_id;
end;
$$;

revoke all on function identity_sync_private.writes_since(bigint) from public;

comment on function identity_sync_private.writes_since(bigint) is
  'Takes a run; returns its libraries that another run wrote later, those that an undo of it took back last, the transactions of these undos, and those of all settlements since it, or what it took back, began.';
--! EndIncluded functions/repair/writes_since.sql
--! Included functions/repair/undo_identity_run.sql
-- Takes back what a run wrote: rows that it inserted go, others come back as they were, its marks and its quarantine
-- go, and all of it is due. What a verdict only confirmed stays, and so does what anybody has changed since. Undoing
-- is a run of its own, so that it is recorded, shown and undone like any other; a second time it changes nothing.
create or replace function identity_sync.undo_identity_run(run_id bigint, ids integer[] default null)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  undone record;
  since record;
  unmarked_ids integer[];
  quarantine_closed integer;
  report jsonb := '{
    "identity": {"removed": 0, "restored": 0},
    "source": {"removed": 0, "restored": 0},
    "compilation_track": {"restored": 0},
    "newer": 0,
    "held": 0
  }'::jsonb;
begin
  select run.dry_run, run.finished_at
  into undone
  from identity_sync.run
  where run.run_id = undo_identity_run.run_id
  for share;
  if not found then
    raise exception using errcode = 'LS002', message = format('there is no run %s', coalesce(run_id::text, 'NULL'));
  end if;
  if undone.finished_at is null then
    raise exception using
      errcode = 'LS001',
      message = format('run %s is not over', run_id),
      hint = format('Stop it first: select stop_identity_run(%s, ''why'').', run_id);
  end if;
  if undone.dry_run then
    raise exception using
      errcode = 'LS001',
      message = format('run %s was a dry run and wrote nothing', run_id),
      hint = 'A preview that was applied has a number of its own: the view run_progress lists it.';
  end if;

  -- All of it at once, before anything is looked at.
  perform identity_sync_private.lock_identities(
    array(
      select listed.library_id
      from identity_sync_private.libraries_of_run(run_id) as listed (library_id)
      where undo_identity_run.ids is null or listed.library_id = any (undo_identity_run.ids)
    )
  );

  with lifted as (
    delete from identity_sync.attempt
    using identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id
      and attempt.settlement_id = settlement.settlement_id
      and (undo_identity_run.ids is null or attempt.library_id = any (undo_identity_run.ids))
    returning attempt.library_id
  )
  select coalesce(array_agg(lifted.library_id), '{}')
  into unmarked_ids
  from lifted;
  perform identity_sync_private.ask_again(unmarked_ids);

  update identity_sync.quarantined_verdict as entry
  set closed_at = clock_timestamp(), closed_reason = format('undone by run %s', this_run)
  from identity_sync.settlement
  where settlement.run_id = undo_identity_run.run_id
    and entry.settlement_id = settlement.settlement_id
    and entry.closed_at is null
    and (undo_identity_run.ids is null or entry.library_id = any (undo_identity_run.ids));
  get diagnostics quarantine_closed = row_count;

  select * into since from identity_sync_private.writes_since(run_id);

  for undone in
    select settlement.settlement_id
    from identity_sync.settlement
    where settlement.run_id = undo_identity_run.run_id and not settlement.dry_run
    order by settlement.settlement_id
  loop
    report := identity_sync_private.add_reports(
      report,
      identity_sync_private.undo_settlement(
        undone.settlement_id, ids, since.written_later, since.undone_before, since.undone_by, since.ours, this_run
      )
    );
  end loop;

  perform identity_sync_private.record_run_by_hand(
    this_run, 'undo', started_at, identity_sync_private.empty_report(), run_id, ids
  );
  return report || jsonb_build_object(
    'run_id', this_run, 'of_run_id', run_id, 'marks_lifted', cardinality(unmarked_ids),
    'quarantine_closed', quarantine_closed
  );
end;
$$;

revoke all on function identity_sync.undo_identity_run(bigint, integer[]) from public;

comment on function identity_sync.undo_identity_run(bigint, integer[]) is
  'Takes a run that is over and the libraries to undo (NULL: all); returns what was removed and restored, how many rows were left because they were changed since (newer) or are held by hand (held), and the number of the undo itself (run_id). Raises LS001 where the run is open or was a dry run, LS002 for an unknown run, 55P03 where another session holds one of the libraries for 5 seconds.';
--! EndIncluded functions/repair/undo_identity_run.sql
--! Included functions/observe/artists_changed.sql
-- The main rows that name another artist than before, the latest first: what a person looks at to tell a better answer
-- from a wrong one. An id that came, went or only gained confidence is no such change.
create or replace function identity_sync_private.artists_changed(looked_at integer, shown integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recent as (
    -- They hold each later row of the same library too; the last one became what is there now.
    select
      history.history_id, history.library_id, history.superseded_at as at, history.reason_category,
      to_jsonb(history) as was
    from wxyc_schema.library_identity_history as history
    order by history.history_id desc
    limit artists_changed.looked_at
  ),
  step as (
    select
      recent.*,
      coalesce(
        lead(recent.was) over (partition by recent.library_id order by recent.history_id),
        (
          select to_jsonb(known)
          from wxyc_schema.library_identity as known
          where known.library_id = recent.library_id
        )
      ) as became
    from recent
  ),
  changed as (
    select step.*, ids.changes
    from step
    cross join lateral (
      select
        jsonb_agg(
          jsonb_build_object(
            'column', named.name, 'old', step.was ->> named.name, 'new', step.became ->> named.name
          )
          order by named.place
        ) filter (where (step.was ->> named.name) is distinct from (step.became ->> named.name)) as changes,
        bool_or((step.was ->> named.name) <> (step.became ->> named.name)) as names_another
      from unnest(
        array[
          'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id'
        ]
      ) with ordinality as named (name, place)
    ) as ids
    where ids.names_another and step.reason_category is distinct from 'release'
    order by step.history_id desc
    limit artists_changed.shown
  ),
  writer as (
    select history_id, latest.run_id
    from (
      select settlement.run_id, settlement.history_ids
      from identity_sync.settlement
      where settlement.history_ids <> '{}'
      order by settlement.settlement_id desc
      limit artists_changed.looked_at
    ) as latest
    cross join lateral unnest(latest.history_ids) as history_id
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'library_id', changed.library_id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'at', changed.at,
          'why', changed.reason_category,
          'run_id', writer.run_id,
          'changes', changed.changes
        )
        order by changed.history_id desc
      ),
      '[]'
    )
  from changed
  left join writer on writer.history_id = changed.history_id
  left join wxyc_schema.library on library.id = changed.library_id;
$$;

revoke all on function identity_sync_private.artists_changed(integer, integer) from public;

comment on function identity_sync_private.artists_changed(integer, integer) is
  'Takes how many rows of the history to look at and how many changes to return; returns the latest main rows that name another artist, each with library, time, category, run and its ids old beside new.';
--! EndIncluded functions/observe/artists_changed.sql
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
--! Included functions/observe/calls_in_flight.sql
-- Calls under way, of one worker or of all: a batch whose lease has ended is in no process's hands any more.
create or replace function identity_sync_private.calls_in_flight(worker text default null)
returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)
  from identity_sync.batch
  where batch.closed_at is null
    and batch.state = 'in_flight'
    and batch.leased_until >= clock_timestamp()
    -- A lane is named "host:pid:job", and its worker "host:pid".
    and (calls_in_flight.worker is null or regexp_replace(batch.leased_by, ':[^:]*$', '') = calls_in_flight.worker);
$$;

revoke all on function identity_sync_private.calls_in_flight(text) from public;

comment on function identity_sync_private.calls_in_flight(text) is
  'Takes a worker, or NULL for all; returns how many of its calls to LML are under way.';
--! EndIncluded functions/observe/calls_in_flight.sql
--! Included functions/observe/changes_of.sql
-- What the writer changed of a library, an event a settlement: its main row from library_identity_history, its source
-- rows from superseded_source. What a row became is what it was before the next change, or is now.
create or replace function identity_sync_private.changes_of(library_id integer)
returns table (at timestamptz, kind text, settlement_id bigint, words text, changes jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with main as (
    select
      history.history_id,
      history.superseded_at as at,
      history.superseded_reason as words,
      history.reason_category as category,
      to_jsonb(history) as stored
    from wxyc_schema.library_identity_history as history
    where history.library_id = changes_of.library_id
    union all
    select null, null, null, null, to_jsonb(known)
    from wxyc_schema.library_identity as known
    where known.library_id = changes_of.library_id
  ),
  main_step as (
    select
      main.*,
      case
        when main.category is distinct from 'release'
        then lead(main.stored) over (order by main.history_id nulls last)
      end as became
    from main
  ),
  source_step as (
    select
      old.settlement_id,
      old.superseded_at as at,
      old.superseded_reason as words,
      old.source,
      to_jsonb(old) as stored,
      case
        when old.action <> 'removed' then coalesce(
          lead(to_jsonb(old)) over (partition by old.source order by old.superseded_id),
          (
            select to_jsonb(known)
            from wxyc_schema.library_identity_source as known
            where known.library_id = changes_of.library_id and known.source = old.source
          )
        )
      end as became
    from identity_sync.superseded_source as old
    where old.library_id = changes_of.library_id
  ),
  step as (
    select
      (
        select settlement.settlement_id
        from identity_sync.settlement
        where settlement.settled_at between main_step.at - interval '1 minute' and main_step.at + interval '1 day'
          and main_step.history_id = any (settlement.history_ids)
        order by settlement.settled_at
        limit 1
      ) as settlement_id,
      main_step.at, main_step.words, 'identity' as stored_row, main_step.stored, main_step.became,
      array[
        'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
        'method', 'confidence', 'notes'
      ] as columns
    from main_step
    where main_step.history_id is not null
    union all
    select
      source_step.settlement_id, source_step.at, source_step.words, source_step.source, source_step.stored,
      source_step.became, array['external_id', 'method', 'confidence']
    from source_step
  )
  select
    max(step.at),
    'changed',
    step.settlement_id,
    max(step.words),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'row', step.stored_row, 'column', named.name,
          'old', step.stored -> named.name, 'new', coalesce(step.became -> named.name, 'null')
        )
        order by step.stored_row <> 'identity', step.stored_row, named.place
      ) filter (where (step.stored ->> named.name) is distinct from (step.became ->> named.name)),
      '[]'
    )
  from step
  cross join lateral unnest(step.columns) with ordinality as named (name, place)
  group by step.settlement_id, case when step.settlement_id is null then step.at end

  union all
  select settlement.settled_at, 'identified', settlement.settlement_id, 'first identity', '[]'
  from identity_sync.settlement
  where changes_of.library_id = any (settlement.inserted_ids) and not settlement.dry_run;
$$;

revoke all on function identity_sync_private.changes_of(integer) from public;

comment on function identity_sync_private.changes_of(integer) is
  'Takes a library; returns each settlement that changed its identity or its sources, with the time, why, and the columns old beside new; and the one that wrote its first identity.';
--! EndIncluded functions/observe/changes_of.sql
--! Included functions/observe/closed_queue.sql
-- Names what graphile-worker keeps jobs in and this login cannot work with: closed to it, or hidden from it by row
-- security without a policy for it.
create or replace function identity_sync_private.closed_queue()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(relname, ', ' order by relname)
  from pg_class
  where relnamespace = to_regnamespace('graphile_worker')
    and relkind = 'r'
    and (
      not has_schema_privilege(relnamespace, 'USAGE')
      or not (has_table_privilege(oid, 'SELECT') and has_table_privilege(oid, 'UPDATE'))
      or row_security_active(oid) and not exists (
        select
        from pg_policy
        where polrelid = pg_class.oid
          and exists (select from unnest(polroles) as role where role = 0 or pg_has_role(role, 'USAGE'))
      )
    );
$$;

revoke all on function identity_sync_private.closed_queue() from public;

comment on function identity_sync_private.closed_queue() is
  'Returns the tables of graphile-worker that this login cannot read and write, or NULL.';
--! EndIncluded functions/observe/closed_queue.sql
--! Included functions/observe/state_of_library.sql
-- Where a library stands, one state each, so that the states add up to the catalogue. What can never be asked comes
-- first, then what a run would ask now, then why it would not.
create or replace function identity_sync_private.state_of_library(
  has_name boolean,
  is_on_discogs boolean,
  is_due boolean,
  is_held boolean,
  is_wanted boolean,
  is_fresh boolean
)
returns text
language sql immutable parallel safe
return case
  when not has_name then 'no_name'
  when not is_on_discogs then 'not_on_discogs'
  when is_due then 'due'
  when is_held then 'held'
  when is_fresh then 'fresh'
  when is_wanted then 'waiting'
  else 'not_canonical'
end;

revoke all on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean)
from public;

comment on function identity_sync_private.state_of_library(boolean, boolean, boolean, boolean, boolean, boolean) is
  'Takes what is known of a library (it has an artist name, may be on Discogs, is due, is held by hand, is canonicalized or has an identity, has an identity that is not stale); returns no_name, not_on_discogs, due, held, fresh, waiting or not_canonical.';
--! EndIncluded functions/observe/state_of_library.sql
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
--! Included functions/observe/describe_ended_run.sql
-- A run that is over, in the few numbers that a person asks for first: what it changed, and what it could not. What
-- got no answer is no refusal: it is left.
create or replace function identity_sync_private.describe_ended_run(run identity_sync.run)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'outcome', run.outcome,
    'outcome_reason', run.outcome_reason,
    'stop_cause', run.stop_cause,
    'started_at', run.started_at,
    'finished_at', run.finished_at,
    'took_seconds', round(extract(epoch from run.finished_at - run.started_at), 1),
    'planned', run.planned,
    'scanned', (run.report ->> 'scanned')::bigint,
    'new', (run.report #>> '{identity,inserted}')::bigint,
    'changed', (run.report #>> '{identity,changed}')::bigint,
    'confirmed', (run.report #>> '{identity,unchanged}')::bigint,
    'compilations',
    (run.report ->> 'rows_resolved_compilation')::bigint + (run.report #>> '{rows_skipped,compilation}')::bigint,
    'unresolved', (run.report ->> 'rows_unresolved')::bigint,
    'refused', identity_sync_private.refused_rows(run.report #- '{rows_skipped,lml_error}'),
    'left', coalesce((run.report ->> 'left')::bigint, 0)
  );
$$;

revoke all on function identity_sync_private.describe_ended_run(identity_sync.run) from public;

comment on function identity_sync_private.describe_ended_run(identity_sync.run) is
  'Takes a run that is over; returns its outcome and times, and of its report the rows new, changed, confirmed, compilations, unresolved, refused and left.';
--! EndIncluded functions/observe/describe_ended_run.sql
--! Included functions/observe/is_alive.sql
-- A process that carries runs is heard of every ten seconds at least, also while its calls to LML are under way. One
-- that has missed that twice is taken for dead. One that plans nothing carries runs alone, and is gone once all are
-- over.
create or replace function identity_sync_private.is_alive(worker identity_sync.worker)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '20 seconds'
    and (worker.plan_cron is not null or exists (select from identity_sync.run where run.finished_at is null));
$$;

revoke all on function identity_sync_private.is_alive(identity_sync.worker) from public;

comment on function identity_sync_private.is_alive(identity_sync.worker) is
  'Takes a worker; returns whether it was heard of within the last twenty seconds, and plans runs or may carry one.';
--! EndIncluded functions/observe/is_alive.sql
--! Included functions/observe/waits_of_run.sql
-- What an open run waits for, so that a person sees whether to do anything: most waits end by themselves, at the time
-- that is named.
create or replace function identity_sync_private.waits_of_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with unfinished as (
    select batch.*, regexp_replace(batch.leased_by, ':[^:]*$', '') as worker_name
    from identity_sync.batch
    where batch.run_id = waits_of_run.run_id and batch.closed_at is null
  ),
  last_failure as (
    select
      case
        when call.http_status is null then coalesce(call.failure, 'no answer')
        else format('LML answered %s', call.http_status)
      end as words
    from identity_sync.batch
    join identity_sync.lml_call as call on call.batch_id = batch.batch_id
    where batch.run_id = waits_of_run.run_id and call.answered_at is not null and call.http_status is distinct from 200
    order by call.call_id desc
    limit 1
  ),
  wait as (
    select
      1 as place,
      'pause' as kind,
      run.paused_until as until,
      case
        when exists (
          select from unfinished where unfinished.deferrals > 0 and unfinished.not_before = run.paused_until
        )
        then 'LML asked for a pause (429)'
        else format('batch after batch failed, pause %s of 4', run.pauses)
          || coalesce((select ': ' || last_failure.words from last_failure), '')
      end as what
    from identity_sync.run
    where run.run_id = waits_of_run.run_id and run.paused_until > clock_timestamp()
    union all
    select
      2, 'lease', max(unfinished.leased_until),
      format(
        '%s in the hands of %s, which is silent', count(*), coalesce(unfinished.worker_name, 'a process')
      )
    from unfinished
    left join identity_sync.worker on worker.name = unfinished.worker_name
    where unfinished.leased_until >= clock_timestamp()
      and not coalesce(identity_sync_private.is_alive(worker), false)
    group by unfinished.worker_name
    union all
    select 3, 'kept_answer', null, format('answers kept until other sessions let go of their rows: %s', count(*))
    from unfinished
    where unfinished.answer is not null and unfinished.leased_by is null
    having count(*) > 0
    union all
    select
      4, 'batch', min(unfinished.not_before),
      format('batches to be tried again: %s', count(*))
        || coalesce((select '; ' || last_failure.words from last_failure), '')
    from unfinished
    join identity_sync.run on run.run_id = unfinished.run_id
    where unfinished.state = 'open'
      and unfinished.not_before > clock_timestamp()
      and not coalesce(run.paused_until > clock_timestamp(), false)
    having count(*) > 0
    union all
    select 5, 'worker', null, 'no worker is alive'
    where not exists (select from identity_sync.worker where identity_sync_private.is_alive(worker))
  )
  select
    coalesce(
      jsonb_agg(jsonb_build_object('kind', wait.kind, 'until', wait.until, 'what', wait.what) order by wait.place), '[]'
    )
  from wait;
$$;

revoke all on function identity_sync_private.waits_of_run(bigint) from public;

comment on function identity_sync_private.waits_of_run(bigint) is
  'Takes an open run; returns what it waits for (pause, lease, kept_answer, batch, worker), each with the time when that ends by itself and words.';
--! EndIncluded functions/observe/waits_of_run.sql
--! Included functions/observe/describe_open_run.sql
-- How far an open run is, how fast it has been within the last minute, and what it waits for. Rows of failed batches
-- are not done: they are due again.
create or replace function identity_sync_private.describe_open_run(run_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run_id', run.run_id,
    'scope', run.scope,
    'dry_run', run.dry_run,
    'scheduled', run.scheduled,
    'opened_by', run.opened_by,
    'started_at', run.started_at,
    'deadline_at', run.deadline_at,
    'stop_cause', run.stop_cause,
    'stop_reason', run.stop_reason,
    'planned', run.planned,
    'done', progress.done,
    'failed', progress.failed,
    'batches_left', progress.batches_left,
    'calls_in_flight', progress.calls_in_flight,
    'rows_per_second', round(pace.rows_per_second, 1),
    'seconds_left', ceil((run.planned - progress.done - progress.failed) / pace.rows_per_second),
    'waits', identity_sync_private.waits_of_run(run.run_id)
  )
  from identity_sync.run
  cross join lateral (
    select
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed'), 0) as done,
      coalesce(sum(cardinality(batch.library_ids)) filter (where batch.state = 'failed'), 0) as failed,
      count(*) filter (where batch.closed_at is null) as batches_left,
      count(*) filter (where batch.state = 'in_flight' and batch.leased_until >= clock_timestamp()) as calls_in_flight,
      sum(cardinality(batch.library_ids)) filter (
        where batch.is_done and batch.state <> 'failed' and batch.closed_at > clock_timestamp() - interval '1 minute'
      ) as done_lately
    from identity_sync.batch
    where batch.run_id = run.run_id
  ) as progress
  cross join lateral (
    select
      progress.done_lately
        / greatest(least(extract(epoch from clock_timestamp() - run.started_at), 60), 1) as rows_per_second
  ) as pace
  where run.run_id = describe_open_run.run_id;
$$;

revoke all on function identity_sync_private.describe_open_run(bigint) from public;

comment on function identity_sync_private.describe_open_run(bigint) is
  'Takes an open run; returns its settings, rows planned, done and failed, rate of the last minute, seconds left, calls in flight and waits.';
--! EndIncluded functions/observe/describe_open_run.sql
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
as $$
  with marked as (
    -- The rows of one answer share its time, so that the days of few groups are found and not those of all rows.
    select
      identity.last_verified_at,
      attempt.attempted_at,
      coalesce(attempt.outcome in ('manual_precedence', 'compilation_unread'), false) as is_soon,
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
          + make_interval(days => case when marked.is_soon then stale_days else unresolved_retry_days end)
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
--! Included functions/observe/utc.sql
-- A time within a sentence, in UTC and saying so, since the reader's zone is not known.
create or replace function identity_sync_private.utc(at timestamptz)
returns text
language sql immutable parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"');

revoke all on function identity_sync_private.utc(timestamptz) from public;

comment on function identity_sync_private.utc(timestamptz) is
  'Takes a time; returns it to the minute in UTC, NULL for NULL.';
--! EndIncluded functions/observe/utc.sql
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
    when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_days
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
--! Included functions/observe/settlement_of.sql
-- Which call of the writer said what stands in a row: the one of the answer that the row was verified by. Answers have
-- times of their own to the microsecond, and where two share one, the batch tells.
create or replace function identity_sync_private.settlement_of(verified_at timestamptz, library_id integer)
returns identity_sync.settlement
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select settlement.*
  from identity_sync.settlement
  left join identity_sync.batch on batch.batch_id = settlement.batch_id
  where settlement.verified_at = settlement_of.verified_at
    and not settlement.dry_run
    and settlement.is_answer
  order by coalesce(settlement_of.library_id = any (batch.library_ids), false) desc, settlement.settlement_id desc;
$$;

revoke all on function identity_sync_private.settlement_of(timestamptz, integer) from public;

comment on function identity_sync_private.settlement_of(timestamptz, integer) is
  'Takes the time that a row was verified at, and its library; returns the settlement of that answer, NULL where it is not known.';
--! EndIncluded functions/observe/settlement_of.sql
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
--! Included functions/observe/explain_identity.sql
-- All that is known of one library: what is there now and which run said it, why it is due or not in one sentence, and
-- what has happened to it, the newest first.
create or replace function identity_sync.explain_identity(
  library_id integer,
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  explained jsonb;
begin
  select
    jsonb_build_object(
      'at', clock_timestamp(),
      'library_id', library.id,
      'artist_name', library.artist_name,
      'album_title', library.album_title,
      'artist_id', library.artist_id,
      'due', identity_sync_private.explain_due(library.id, stale_days, unresolved_retry_days, include_null_canonical),
      'identity', (
        select to_jsonb(known) - 'library_id' - 'distinct_unresolved_sources' || jsonb_build_object(
          'run_id', (identity_sync_private.settlement_of(known.last_verified_at, library.id)).run_id,
          'is_held', identity_sync_private.is_set_by_hand(known.method, known.notes)
        )
        from wxyc_schema.library_identity as known
        where known.library_id = library.id
      ),
      'sources', (
        select
          coalesce(
            jsonb_agg(
              to_jsonb(known) - 'library_id' || jsonb_build_object(
                'run_id', (identity_sync_private.settlement_of(known.last_verified_at, library.id)).run_id
              )
              order by known.confidence desc, known.source
            ),
            '[]'
          )
        from wxyc_schema.library_identity_source as known
        where known.library_id = library.id
      ),
      'mark', (
        select to_jsonb(attempt) - 'library_id' || jsonb_build_object('run_id', settlement.run_id)
        from identity_sync.attempt
        left join identity_sync.settlement on settlement.settlement_id = attempt.settlement_id
        where attempt.library_id = library.id
      ),
      'quarantine', (
        select to_jsonb(entry) - 'library_id'
        from identity_sync.quarantine as entry
        where entry.library_id = library.id
      ),
      'open_batches', (
        select
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'batch_id', batch.batch_id,
                'run_id', batch.run_id,
                'dry_run', run.dry_run,
                'state', batch.state,
                'tries', batch.tries,
                'not_before', batch.not_before,
                'leased_by', batch.leased_by,
                'leased_until', batch.leased_until
              )
              order by batch.batch_id desc
            ),
            '[]'
          )
        from identity_sync.batch
        join identity_sync.run on run.run_id = batch.run_id
        where batch.closed_at is null and library.id = any (batch.library_ids)
      ),
      'homonyms', (
        select
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'artist_id', other.id, 'artist_name', other.artist_name, 'libraries', shelved.libraries
              )
              order by other.id
            ),
            '[]'
          )
        from wxyc_schema.artists as this
        join wxyc_schema.artists as other
          on wxyc_schema.fold_artist_name(other.artist_name) = wxyc_schema.fold_artist_name(this.artist_name)
          and other.id <> this.id
        cross join lateral (
          select count(*) as libraries from wxyc_schema.library as theirs where theirs.artist_id = other.id
        ) as shelved
        where this.id = library.artist_id
      ),
      'timeline', identity_sync_private.timeline_of(library.id)
    )
  into explained
  from wxyc_schema.library
  where library.id = explain_identity.library_id;
  if explained is null then
    raise exception using
      errcode = 'LS002',
      message = format('there is no library %s', coalesce(library_id::text, 'NULL'));
  end if;
  return explained;
end;
$$;

revoke all on function identity_sync.explain_identity(integer, integer, integer, boolean) from public;

comment on function identity_sync.explain_identity(integer, integer, integer, boolean) is
  'Takes a library and the parameters that decide whether it is due (days; the defaults are those of identity_candidates); returns due with a sentence, identity, sources, mark, quarantine, open_batches, homonyms and the timeline. Raises LS001 for a value out of range, LS002 for an unknown library.';
--! EndIncluded functions/observe/explain_identity.sql
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
--! Included functions/observe/identity_check.sql
-- Looks at all that a run needs of its database and its login, and names each fault with its cure, before a night finds
-- it. It runs with its caller's rights, since these are what it looks at, and changes nothing.
create or replace function identity_sync.identity_check(
  known text[], asked_at timestamptz default clock_timestamp(), sslmode text default null
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with fact as (
    select
      callable.*,
      (select pg_has_role(nspowner, 'USAGE') from pg_namespace where nspname = 'identity_sync') as is_owner,
      array_to_string(identity_sync.lost_columns(), ', ') as lost,
      identity_sync.missing_migrations(known) as lacking,
      (select string_agg(filename, ', ' order by filename) from graphile_migrate.migrations where hash <> all (known))
        as newer,
      round(1000 * extract(epoch from clock_timestamp() - asked_at)) as ahead_ms,
      (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as is_encrypted,
      coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,
      identity_sync_private.closed_queue() as closed,
      (
        select string_agg(format('%s = %s', name, current_setting(name)), ', ' order by name)
        from pg_settings
        where name = 'default_transaction_isolation' and setting <> 'read committed'
          or name = 'idle_session_timeout' and setting <> '0'
          or name = 'statement_timeout' and setting::bigint between 1 and 59999
      ) as unsuitable
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
      4, 'login', case when is_worker then 'ok' else 'fail' end,
      format(
        '%I may %s', current_user,
        case when is_worker then 'run and work' else 'not run: it is no worker' end
          || case when is_operator then ', repair' else '' end || case when is_owner then ', migrate' else '' end
      ),
      format(
        'A worker''s login (README, "Which login"): psql "$DBA_URL" -v worker=%I -f sql/roles.sql', current_user
      )
    from fact
    union all
    select
      5, 'session', case when unsuitable is null then 'ok' else 'warn' end,
      coalesce(unsuitable, 'isolation and timeouts suit a run'),
      format('psql "$DBA_URL" -v worker=%I -f sql/roles.sql sets them for this login.', current_user)
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
      case when to_regnamespace('graphile_worker') is null or closed is not null then 'fail' else 'ok' end,
      case
        when to_regnamespace('graphile_worker') is null then 'graphile-worker''s schema is not there'
        else coalesce('closed to this login: ' || closed, 'open to this login')
      end,
      format('identity-sync migrate, then psql "$DBA_URL" -v worker=%I -f sql/roles.sql', current_user)
    from fact
    union all
    select
      9, 'planning', 'warn',
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

revoke all on function identity_sync.identity_check(text[], timestamptz, text) from public;

comment on function identity_sync.identity_check(text[], timestamptz, text) is
  'Takes the hashes of the migrations that a program brings, its time and its sslmode; returns what a run needs of database and login, each as check, status (ok, warn, or fail where a run would fail), message and cure.';
--! EndIncluded functions/observe/identity_check.sql
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
  where not run.dry_run and run.scope in ('due', 'refresh', 'recheck');

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
      select coalesce(jsonb_agg(hold.name order by hold.name), '[]') from identity_sync_private.holds_in_force() as hold
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
    -- A finished run keeps its sum, so that old settlements are not added up again.
    select run.report from identity_sync.run where run.finished_at is not null and not run.dry_run
    union all
    select settlement.report
    from identity_sync.settlement
    left join identity_sync.run on run.run_id = settlement.run_id
    where not settlement.dry_run and run.finished_at is null
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
      from identity_sync_private.holds_in_force() as hold
    ),
    'runs', (
      select
        '{"completed": 0, "failed": 0, "stopped": 0}'::jsonb
        || coalesce(jsonb_object_agg(ended.outcome, ended.runs), '{}')
      from (
        select run.outcome, count(*) as runs
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run
        group by run.outcome
      ) as ended
    ),
    'last_run', (
      select jsonb_build_object(
        'outcome', run.outcome, 'duration_seconds', extract(epoch from run.finished_at - run.started_at)
      )
      from identity_sync.run
      where run.finished_at is not null and not run.dry_run and run.scope <> 'ids'
      order by run.run_id desc
      limit 1
    ),
    'last_success_age_seconds', (
      select extract(epoch from clock_timestamp() - max(run.finished_at))
      from identity_sync.run
      where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
    )
  );
$$;

revoke all on function identity_sync.identity_metrics(integer, integer, boolean) from public;

comment on function identity_sync.identity_metrics(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns totals by kind and report key, and counts of due rows, open batches, calls in flight, quarantine, planning holds and runs, how the last run ended, and the seconds since the last success. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_metrics.sql
--! Included functions/observe/latest_refusals.sql
-- The latest refusals as a page shows them: the verdict as it came, in three pieces of which the second is the field at
-- fault. Cutting the text here keeps LML's answer out of the program's hands.
create or replace function identity_sync_private.latest_refusals(entries integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'quarantine_id', entry.quarantine_id,
          'library_id', entry.library_id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'run_id', entry.run_id,
          'outcome', entry.outcome,
          'field', coalesce(entry.path, entry.constraint_name),
          'sqlstate', entry.sqlstate,
          'reason', coalesce(entry.message, entry.reason),
          'quarantined_at', entry.quarantined_at,
          'before', right(cut.before, 2000),
          'at_fault', left(cut.at_fault, 500),
          'after', left(cut.after, 2000),
          'is_cut', length(cut.before) > 2000 or length(cut.at_fault) > 500 or length(cut.after) > 2000
        )
        order by entry.quarantine_id desc
      ),
      '[]'
    )
  from (
    select quarantine.*, stored.verdict as document
    from identity_sync.quarantine
    join identity_sync.quarantined_verdict as stored on stored.quarantine_id = quarantine.quarantine_id
    order by quarantine.quarantine_id desc
    limit latest_refusals.entries
  ) as entry
  left join wxyc_schema.library on library.id = entry.library_id
  cross join lateral (
    select
      string_to_array(translate(replace(entry.path, '[', '.'), ']', ''), '.') as path,
      -- A text that no verdict holds, put where the field stands and cut out again.
      gen_random_uuid()::text as mark
  ) as fault
  cross join lateral (
    select jsonb_pretty(jsonb_set(entry.document, fault.path, to_jsonb(fault.mark), false)) as text
  ) as marked
  cross join lateral (
    select
      case
        when marked.text is null then coalesce(jsonb_pretty(entry.document), entry.verdict)
        else split_part(marked.text, format('"%s"', fault.mark), 1)
      end as before,
      case
        when strpos(marked.text, fault.mark) > 0 then jsonb_pretty(entry.document #> fault.path)
      end as at_fault,
      split_part(marked.text, format('"%s"', fault.mark), 2) as after
  ) as cut;
$$;

revoke all on function identity_sync_private.latest_refusals(integer) from public;

comment on function identity_sync_private.latest_refusals(integer) is
  'Takes how many; returns the latest open entries of the quarantine with the verdict in the pieces before, at_fault (NULL where it holds no such field) and after, each cut to a few thousand characters.';
--! EndIncluded functions/observe/latest_refusals.sql
--! Included functions/observe/identity_page.sql
-- What the page draws beside identity_status: series over runs, days and the days to come, the latest refusals, and who
-- was taken for whom of late. Each list is bounded, so that the page is of one size at any age of the database.
create or replace function identity_sync.identity_page(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform identity_sync_private.validate_selection('due', stale_days, unresolved_retry_days, 0, 1, null);
  return jsonb_build_object(
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null and not run.dry_run and run.planned > 0
        order by run.run_id desc
        limit 30
      ) as latest
    ),
    'calls_by_day', (
      select coalesce(jsonb_agg(to_jsonb(counted) order by counted.day), '[]')
      from (
        select
          (call.started_at at time zone 'UTC')::date as day,
          count(*) as calls,
          count(*) filter (where call.http_status is distinct from 200) as failures,
          round(percentile_cont(0.5) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p50_ms,
          round(percentile_cont(0.95) within group (order by call.latency_ms) filter (where call.http_status = 200))
            as p95_ms
        from identity_sync.lml_call as call
        where call.answered_at is not null and call.started_at > clock_timestamp() - interval '30 days'
        group by 1
      ) as counted
    ),
    'due_by_day', identity_sync_private.due_by_day(stale_days, unresolved_retry_days, include_null_canonical, 28),
    'refusals', identity_sync_private.latest_refusals(20),
    'changes', identity_sync_private.artists_changed(5000, 30)
  );
end;
$$;

revoke all on function identity_sync.identity_page(integer, integer, boolean) from public;

comment on function identity_sync.identity_page(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days); returns the last thirty runs, calls_by_day, due_by_day, and the latest refusals and changes of artist. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_page.sql
--! Included functions/observe/lml_calls_of_late.sql
-- Whether LML is there and how fast it is, by the last hundred calls of all processes.
create or replace function identity_sync_private.lml_calls_of_late()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recent as (
    select call.*, case when call.http_status = 200 then call.latency_ms end as answer_ms
    from identity_sync.lml_call as call
    where call.answered_at is not null
    order by call.call_id desc
    limit 100
  )
  select jsonb_build_object(
    'calls_in_flight', identity_sync_private.calls_in_flight(),
    'concurrency', (
      select max(worker.concurrency) from identity_sync.worker where identity_sync_private.is_alive(worker)
    ),
    'recent_calls', count(*),
    'recent_failures', count(*) filter (where recent.http_status is distinct from 200),
    'p50_ms', round(percentile_cont(0.5) within group (order by recent.answer_ms)),
    'p95_ms', round(percentile_cont(0.95) within group (order by recent.answer_ms)),
    'last_answer', (
      select jsonb_build_object(
        'at', last.answered_at, 'http_status', last.http_status, 'latency_ms', last.latency_ms, 'failure', last.failure
      )
      from recent as last
      order by last.call_id desc
      limit 1
    )
  )
  from recent;
$$;

revoke all on function identity_sync_private.lml_calls_of_late() from public;

comment on function identity_sync_private.lml_calls_of_late() is
  'Returns the calls in flight and allowed, and of the last hundred calls how many failed, the median and 95th percentile of those answered in milliseconds, and how the last one ended.';
--! EndIncluded functions/observe/lml_calls_of_late.sql
--! Included functions/observe/planning_holds.sql
-- What keeps the cron from planning, each hold with the commands that cure it, in the order in which a person would try
-- them: to look comes before to act.
create or replace function identity_sync_private.planning_holds()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        to_jsonb(hold) - 'alerted_at' || jsonb_build_object('cures', cure.steps) order by hold.since desc, hold.name
      ),
      '[]'
    )
  from identity_sync_private.holds_in_force() as hold
  cross join lateral (
    select jsonb_agg(jsonb_build_object('purpose', step.purpose, 'command', step.command) order by step.place) as steps
    from (
      values
        ('key_refused', 1, 'set LML_API_KEY, then', 'identity-sync run'),
        ('key_refused', 2, 'or start the worker anew', 'identity-sync worker'),
        ('paused', 1, 'go on', 'identity-sync resume paused'),
        ('brake', 1, 'look', format('identity-sync diff --run %s', hold.run_id)),
        ('brake', 2, 'take back', format('identity-sync undo --run %s', hold.run_id)),
        ('brake', 3, 'when LML is well', 'identity-sync run'),
        (
          'brake', 4, 'where its answers are right',
          format('identity-sync run --accept %s', coalesce(hold.gauge, 'unresolved'))
        )
    ) as step (hold, place, purpose, command)
    where step.hold = hold.name
      -- What was taken back is not offered again, until that was taken back too.
      and not (
        step.purpose = 'take back'
        and exists (
          select
          from identity_sync.run as undone
          where undone.scope = 'undo'
            and undone.of_run_id = hold.run_id
            and undone.ids is null
            and not exists (
              select from identity_sync.run as again where again.scope = 'undo' and again.of_run_id = undone.run_id
            )
        )
      )
  ) as cure;
$$;

revoke all on function identity_sync_private.planning_holds() from public;

comment on function identity_sync_private.planning_holds() is
  'Returns the planning holds in force, the latest first, each with its reason, run, time and cures (purpose and command).';
--! EndIncluded functions/observe/planning_holds.sql
--! Included functions/observe/sum_coverage.sql
-- The view coverage by source, with what share of the catalogue each source knows.
create or replace function identity_sync_private.sum_coverage()
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set work_mem = '64MB'
-- The index brings the libraries in the order of their ids, as in due_libraries.
set enable_hashjoin = off
as $$
  with counted as materialized (
    select * from identity_sync.coverage
  ),
  by_method as (
    select counted.source, counted.method, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.method
  ),
  by_band as (
    select counted.source, counted.confidence_band, sum(counted.libraries) as libraries
    from counted
    group by counted.source, counted.confidence_band
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
--! Included functions/observe/identity_status.sql
-- How things stand, for the screen, the page and scripts: one document, so that all of them say the same. Every key is
-- always there, times carry their zone, and nothing in it is a secret.
create or replace function identity_sync.identity_status(
  stale_days integer default 7,
  unresolved_retry_days integer default 30,
  include_null_canonical boolean default false
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'at', clock_timestamp(),
    'planning', jsonb_build_object(
      'holds', identity_sync_private.planning_holds(),
      'crons', (
        select coalesce(jsonb_agg(distinct worker.plan_cron), '[]')
        from identity_sync.worker
        where identity_sync_private.is_alive(worker)
          and worker.plan_cron is not null
      ),
      'last_success_at', (
        select max(run.finished_at)
        from identity_sync.run
        where run.outcome = 'completed' and not run.dry_run and run.scope in ('due', 'refresh', 'recheck')
      )
    ),
    'open_runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_open_run(run.run_id) order by run.run_id desc), '[]')
      from identity_sync.run
      where run.finished_at is null
    ),
    'runs', (
      select coalesce(jsonb_agg(identity_sync_private.describe_ended_run(latest) order by latest.run_id desc), '[]')
      from (
        select run.*
        from identity_sync.run
        where run.finished_at is not null
        order by run.run_id desc
        limit 10
      ) as latest
    ),
    'workers', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'name', worker.name,
              'version', worker.version,
              'plan_cron', worker.plan_cron,
              'concurrency', worker.concurrency,
              'is_alive', identity_sync_private.is_alive(worker),
              'seen_at', greatest(worker.asked_at, worker.seen_at),
              'calls_in_flight', identity_sync_private.calls_in_flight(worker.name)
            )
            order by greatest(worker.asked_at, worker.seen_at) desc
          ),
          '[]'
        )
      from identity_sync.worker
      where greatest(worker.asked_at, worker.seen_at) > clock_timestamp() - interval '1 day'
    ),
    'lml', identity_sync_private.lml_calls_of_late(),
    'catalogue', identity_sync_private.count_catalogue(stale_days, unresolved_retry_days, include_null_canonical),
    'quarantine', (
      select
        jsonb_build_object(
          'entries', coalesce(sum(refused.entries), 0),
          'by_reason', coalesce(
            jsonb_agg(to_jsonb(refused) order by refused.entries desc, refused.latest_at desc), '[]'
          )
        )
      from (
        select
          entry.outcome,
          entry.path as field,
          entry.sqlstate,
          -- The words name the value at fault, so that of many one stands for all.
          max(coalesce(entry.message, entry.reason)) as reason,
          count(*) as entries,
          min(entry.quarantined_at) as oldest_at,
          max(entry.quarantined_at) as latest_at
        from identity_sync.quarantine as entry
        group by entry.outcome, entry.path, entry.sqlstate
      ) as refused
    ),
    'coverage', identity_sync_private.sum_coverage(),
    'gate', (select to_jsonb(gate) from identity_sync.gate)
  );
$$;

revoke all on function identity_sync.identity_status(integer, integer, boolean) from public;

comment on function identity_sync.identity_status(integer, integer, boolean) is
  'Takes the parameters that decide which rows are due (days; the defaults are those of identity_candidates); returns planning with its holds, open_runs, the last ten runs, workers, lml, catalogue, quarantine, coverage and gate. Raises LS001 for a value out of range.';
--! EndIncluded functions/observe/identity_status.sql
--! Included functions/observe/take_identity_alerts.sql
-- Hands each alert to the first process that asks, so that a webhook hears of a run or a hold once, however many
-- processes carry the work. Only a process that can send asks; a run that ended a day ago is no news, and of a call by
-- hand its caller has been told. The text is escaped as Slack wants it.
create or replace function identity_sync.take_identity_alerts()
returns setof jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
  with ended as (
    update identity_sync.run
    set alerted_at = clock_timestamp()
    where run.finished_at > clock_timestamp() - interval '1 day'
      and run.alerted_at is null
      and not run.dry_run
      and run.outcome <> 'completed'
      and run.stop_cause is distinct from 'hand'
      and run.scope in ('due', 'refresh', 'recheck', 'ids')
    returning run.*
  ),
  held as (
    update identity_sync.planning_hold as hold
    set alerted_at = clock_timestamp()
    where hold.alerted_at is null and hold.name in (select name from identity_sync_private.holds_in_force())
    returning hold.*
  )
  select
    told.alert
    || jsonb_build_object(
      'text',
      'library-identity-sync: ' || replace(replace(replace(told.words, '&', '&amp;'), '<', '&lt;'), '>', '&gt;')
    )
  from (
    select
      jsonb_build_object(
        'alert', 'run_ended_badly',
        'at', ended.finished_at,
        'run', identity_sync_private.describe_ended_run(ended)
      ),
      concat_ws(': ', format('run %s %s', ended.run_id, ended.outcome), ended.outcome_reason)
    from ended
    union all
    select
      jsonb_build_object('alert', 'hold_began', 'at', held.since, 'hold', to_jsonb(held) - 'alerted_at'),
      format('planning is on hold (%s): %s', held.name, held.reason)
    from held
  ) as told (alert, words);
$$;

revoke all on function identity_sync.take_identity_alerts() from public;

comment on function identity_sync.take_identity_alerts() is
  'Returns an alert for each run that ended badly within a day and each hold that began, which no process has taken yet, and marks them as taken: alert (run_ended_badly, hold_began), text (with &, < and > escaped), at, and run or hold.';
--! EndIncluded functions/observe/take_identity_alerts.sql
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
  case
    when counted.confidence >= 1 then '1.00'
    when counted.confidence >= 0.95::real then '0.95 - 0.99'
    when counted.confidence >= 0.90::real then '0.90 - 0.94'
    when counted.confidence >= 0.80::real then '0.80 - 0.89'
    when counted.confidence >= 0.70::real then '0.70 - 0.79'
    else 'below 0.70'
  end as confidence_band,
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
--! Included views/gate.sql
-- Says whether the backfill is complete, as the station counts it: fewer than 1,000 library rows are truly unresolved.
-- Such a row has no identity or a confidence below 0.70, and no row of its artist has 0.70 or more by another method
-- than inherited; the last seven columns say why it is not resolved, one cause a row. The view always has one row.
create or replace view identity_sync.gate as
select
  counted.truly_unresolved,
  1000 as allowed,
  counted.truly_unresolved < 1000 as is_complete,
  counted.libraries,
  counted.resolved,
  counted.resolved_by_artist,
  counted.no_name,
  counted.not_on_discogs,
  counted.compilation,
  counted.unresolved,
  counted.refused,
  counted.never_asked,
  counted.other
from identity_sync_private.count_gate() as counted;

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
-- How far each run is, for a person or a dashboard. Rows of failed batches are not done: they are due again. A finished
-- run is told by its report, since its batches are pruned one day.
create or replace view identity_sync.run_progress as
select
  run.run_id,
  run.scope,
  run.dry_run,
  run.planned,
  coalesce(
    case when run.report is null then progress.done else run.planned - coalesce((run.report ->> 'left')::bigint, 0) end,
    0
  ) as done,
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
    sum(cardinality(batch.library_ids)) filter (where batch.is_done and batch.state <> 'failed') as done,
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
