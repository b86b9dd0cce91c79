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
    when identity_sync_private.is_short_attempt(attempt.outcome) then stale_days
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
