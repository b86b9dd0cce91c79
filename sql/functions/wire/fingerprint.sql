-- What LML is asked for, as one number: an answer is remembered with it, so that a renamed row is seen to be another
-- question. The title seasons the name, so that text moved from one to the other makes another number.
create or replace function identity_sync_private.fingerprint(artist_name text, album_title text)
returns bigint
language sql immutable parallel safe
return hashtextextended(artist_name, hashtextextended(album_title, 0));

revoke all on function identity_sync_private.fingerprint(text, text) from public;

comment on function identity_sync_private.fingerprint(text, text) is
  'Takes an artist''s name and an album''s title; returns their fingerprint, NULL where one is NULL.';
