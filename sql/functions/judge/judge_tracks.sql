-- Judges each track entry of a compilation on its own, and keeps one entry a key: what a credit can be linked by.
-- An unusable entry comes back without an artist_name, so that it is counted and costs none of its neighbours.
-- It is no object, has a field of the wrong type or a blank credit, or a name or title longer than its column.
create or replace function identity_sync_private.judge_tracks(tracks jsonb)
returns identity_sync_private.judged_track[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  judged identity_sync_private.judged_track[];
  keys integer;
  usable integer;
begin
  select
    array_agg(
      case
        when entry.is_usable
        then row(
          entry.artist_name,
          entry.track_title,
          case when identity_sync_private.has_text(entry.resolved_artist_name) then entry.resolved_artist_name end,
          entry.confidence,
          entry.confidence is null and entry.stated_confidence <> 'null',
          case when identity_sync_private.has_text(entry.track_position) then entry.track_position end,
          false
        )::identity_sync_private.judged_track
        else row(null, null, null, null, null, null, null)::identity_sync_private.judged_track
      end
      order by entry.ordinal
    ),
    count(*) filter (where entry.is_usable),
    -- A hash may take two keys for one, never one for two: the exact and slower look is for those rare cases.
    count(distinct hashtextextended(coalesce(entry.track_title, ''), hashtextextended(entry.artist_name, 0)))
      filter (where entry.is_usable)
  into judged, usable, keys
  from (
    select
      field.*,
      identity_sync_private.read_confidence(field.stated_confidence)::real as confidence,
      coalesce(
        jsonb_typeof(field.entry -> 'artist_name') = 'string'
        and char_length(field.artist_name) <= 255
        and identity_sync_private.has_text(field.artist_name)
        and (
          field.track_title is null
          or (jsonb_typeof(field.entry -> 'track_title') = 'string' and char_length(field.track_title) <= 255)
        )
        and (
          field.resolved_artist_name is null
          or (
            jsonb_typeof(field.entry -> 'resolved_artist_name') = 'string'
            and char_length(field.resolved_artist_name) <= 255
          )
        )
        and (field.track_position is null or jsonb_typeof(field.entry -> 'track_position') = 'string')
        and coalesce(jsonb_typeof(field.stated_confidence) in ('number', 'null'), true),
        false
      ) as is_usable
    from (
      select
        listed.entry,
        listed.ordinal,
        identity_sync_private.text_of(listed.entry -> 'artist_name') as artist_name,
        identity_sync_private.text_of(listed.entry -> 'track_title') as track_title,
        identity_sync_private.text_of(listed.entry -> 'resolved_artist_name') as resolved_artist_name,
        identity_sync_private.text_of(listed.entry -> 'track_position') as track_position,
        listed.entry -> 'confidence' as stated_confidence
      from jsonb_array_elements(nullif(judge_tracks.tracks, 'null')) with ordinality as listed (entry, ordinal)
      offset 0
    ) as field
    offset 0
  ) as entry;

  return case when keys = usable then judged else identity_sync_private.best_judged_tracks(judged) end;
end;
$$;

revoke all on function identity_sync_private.judge_tracks(jsonb) from public;

comment on function identity_sync_private.judge_tracks(jsonb) is
  'Takes the track entries of a compilation, a JSON array or null; returns one judged track a key, and one without an artist_name for each entry that is unusable.';
