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
