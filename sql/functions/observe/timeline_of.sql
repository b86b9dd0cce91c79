-- What has happened to a library, the newest first: one event a call of the writer that changed it, each column old
-- beside new; the batches it was asked in, as long as they are kept; refusals and how they were closed.
create or replace function identity_sync_private.timeline_of(library_id integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
-- A library has few events, and the planner takes them for many: it would read every settlement.
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
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
