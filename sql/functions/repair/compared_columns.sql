-- The columns that a diff compares, of each kind of row: those that an operator reads. It leaves out keys, times, and
-- what only the history has.
create or replace function identity_sync_private.compared_columns(stored_row text)
returns text[]
language sql immutable parallel safe
return case split_part(stored_row, ' ', 1)
  when 'identity' then array[
    'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
    'discogs_master_id', 'discogs_release_id', 'musicbrainz_release_group_mbid', 'musicbrainz_release_mbid',
    'musicbrainz_recording_mbid', 'method', 'confidence', 'agreement_sources', 'notes'
  ]
  when 'source' then array['external_id', 'method', 'confidence', 'boost_sources', 'notes']
  else array['track_artist_id', 'track_artist_link_confidence', 'track_artist_link_method', 'track_position']
end;

revoke all on function identity_sync_private.compared_columns(text) from public;

comment on function identity_sync_private.compared_columns(text) is
  'Takes the name of a stored row (identity, source and its name, track and its id); returns the columns to compare.';
