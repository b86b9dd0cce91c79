// Where a source shows its artists to people.

const PAGES: Record<string, (id: string) => string> = {
  discogs_artist_id: (id) => `https://www.discogs.com/artist/${id}`,
  musicbrainz_artist_id: (id) => `https://musicbrainz.org/artist/${id}`,
  wikidata_qid: (id) => `https://www.wikidata.org/wiki/${id}`,
  spotify_id: (id) => `https://open.spotify.com/artist/${id}`,
  apple_music_id: (id) => `https://music.apple.com/artist/${id}`,
};

// Bandcamp's artists live on hosts of their own, so that the id is one, or the whole address.
const BANDCAMP = /^(?:https:\/\/)?([a-z0-9][a-z0-9-]{0,62})(?:\.bandcamp\.com\/?)?$/i;

/** The page of an artist, by the column that holds its id; null where the source has none or the id is none of its own. */
export function pageOf(column: string, id: string): string | null {
  if (column === 'bandcamp_id') {
    const [, host] = BANDCAMP.exec(id) ?? [];
    return host === undefined ? null : `https://${host.toLowerCase()}.bandcamp.com/`;
  }
  return /^[\w-]+$/.test(id) ? (PAGES[column]?.(id) ?? null) : null;
}
