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
