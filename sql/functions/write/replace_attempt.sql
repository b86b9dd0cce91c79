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
