-- A single_artist names the artist by an id in main or by a source's external_id. Written without either, it would
-- count as resolved and identify nothing. The judge asks the same of the fields that it has read.
create or replace function identity_sync_private.names_an_artist(verdict jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    verdict -> 'kind' is distinct from '"single_artist"'
    or num_nonnulls(
      nullif(verdict #> '{main,discogs_artist_id}', 'null'), nullif(verdict #> '{main,musicbrainz_artist_id}', 'null'),
      nullif(verdict #> '{main,wikidata_qid}', 'null'), nullif(verdict #> '{main,spotify_artist_id}', 'null'),
      nullif(verdict #> '{main,apple_music_artist_id}', 'null'), nullif(verdict #> '{main,bandcamp_id}', 'null')
    ) > 0
    or verdict @? '$.provenance[*].external_id ? (@ != null)';
$$;

revoke all on function identity_sync_private.names_an_artist(jsonb) from public;

comment on function identity_sync_private.names_an_artist(jsonb) is
  'Takes a verdict whose fields are valid one by one; returns whether it names an artist, or is no single_artist.';
