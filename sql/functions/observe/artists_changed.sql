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
