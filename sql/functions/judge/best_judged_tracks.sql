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
