-- Judges the track entries of a compilation, each on its own, and keeps what a credit can be linked by: one entry a key.
-- An unusable entry (no object, a field of the wrong type, a blank credit, a name or title longer than its column) comes
-- back without an artist_name, so that it is counted and costs none of its neighbours.
create or replace function identity_sync_private.judge_tracks(tracks jsonb)
returns identity_sync_private.judged_track[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- What begins with anything else is not blank, which is cheaper to see.
  blanks constant text := E' \t\n\v\f\r';
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
          case
            when ascii(entry.resolved_artist_name) > 32 or btrim(entry.resolved_artist_name, blanks) <> ''
            then entry.resolved_artist_name
          end,
          entry.confidence,
          entry.confidence is null and entry.stated_confidence <> 'null',
          case
            when ascii(entry.track_position) > 32 or btrim(entry.track_position, blanks) <> '' then entry.track_position
          end,
          false
        )::identity_sync_private.judged_track
        else row(null, null, null, null, null, null, null)::identity_sync_private.judged_track
      end
      order by entry.ordinal
    ),
    count(*) filter (where entry.is_usable),
    -- Two keys may look like one here, never one like two: the exact and slower look is for the rare doubles alone.
    count(distinct hashtextextended(coalesce(entry.track_title, ''), hashtextextended(entry.artist_name, 0)))
      filter (where entry.is_usable)
  into judged, usable, keys
  from (
    select
      field.*,
      case
        when field.stated_confidence between '0' and '1' then round(field.stated_confidence::numeric, 12)::real
      end as confidence,
      coalesce(
        jsonb_typeof(field.entry -> 'artist_name') = 'string'
        and char_length(field.artist_name) <= 255
        and (ascii(field.artist_name) > 32 or btrim(field.artist_name, blanks) <> '')
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
        listed.entry ->> 'artist_name' as artist_name,
        listed.entry ->> 'track_title' as track_title,
        listed.entry ->> 'resolved_artist_name' as resolved_artist_name,
        listed.entry ->> 'track_position' as track_position,
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
