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
