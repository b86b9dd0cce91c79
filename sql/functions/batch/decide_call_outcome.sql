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
