-- Sets a library's attempt, however new the one is that it replaces: a release and a poison input override any answer.
create or replace function identity_sync_private.replace_attempt(
  library_id integer,
  outcome text,
  attempted_at timestamptz,
  settlement_id bigint
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into identity_sync.attempt as known (library_id, outcome, attempted_at, settlement_id)
  values (
    replace_attempt.library_id, replace_attempt.outcome, replace_attempt.attempted_at, replace_attempt.settlement_id
  )
  on conflict (library_id) do update
  set
    outcome = excluded.outcome,
    attempted_at = excluded.attempted_at,
    settlement_id = coalesce(excluded.settlement_id, known.settlement_id);
$$;

revoke all on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint) from public;

comment on function identity_sync_private.replace_attempt(integer, text, timestamptz, bigint) is
  'Takes a library, the outcome and time of its attempt, and the settlement that made it (NULL: that of the attempt before stays).';
