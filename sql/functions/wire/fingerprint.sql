-- What LML is asked for a library, as one number: an answer is remembered with it, so that a renamed row is seen to be
-- another question. It differs from library to library, so that the sums of many differ where two have swapped names.
create or replace function identity_sync_private.fingerprint(library_id integer, artist_name text, album_title text)
returns bigint
language sql immutable parallel safe
return hashtextextended(artist_name, hashtextextended(album_title, library_id));

revoke all on function identity_sync_private.fingerprint(integer, text, text) from public;

comment on function identity_sync_private.fingerprint(integer, text, text) is
  'Takes a library id, its artist''s name and its album''s title; returns their fingerprint, NULL where one is NULL.';
