-- Every source of the wire contract, in the order in which a refusal lists them. No other code lists them. A new source
-- goes to the end, since its place gives source_bit; at most 31 have room.
create or replace function identity_sync_private.sources()
returns text[]
language sql immutable parallel safe
return '{discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp}'::text[];

revoke all on function identity_sync_private.sources() from public;

comment on function identity_sync_private.sources() is
  'Returns the sources that a provenance entry may name.';
