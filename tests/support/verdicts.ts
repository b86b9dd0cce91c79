// LML's verdicts as it sends them: whole ones, and the shortest that the wire allows.

// Records of the station, by the ids that its library gives them.
export const DILATE = 18114;
export const SANGOMA = 46072;
export const ERASER = 43076;
export const NEW_AMERYKAH = 56611;
export const VARIOUS = 512;
/** An id that the library has given to no record. */
export const NOWHERE = 4_000_000;

const IDENTITIES: Record<number, { discogs: number; spotify: string }> = {
  [DILATE]: { discogs: 11442, spotify: '0AiTwNtYX8m4uhfU7rJ8RD' },
  [SANGOMA]: { discogs: 76040, spotify: '18RkLKfeoUgZflWv9os25W' },
  [ERASER]: { discogs: 4854, spotify: '4CvTDPKA6W06DRfBnZKrau' },
  [NEW_AMERYKAH]: { discogs: 10995, spotify: '7IfculRW2WXyzNQ8djX8WX' },
};

export type Fields = Record<string, unknown>;

/** JSON that no JavaScript value can hold, such as 1e400 or a lone surrogate: `toText` puts it in as it stands. */
export class Verbatim {
  constructor(readonly text: string) {}

  toJSON() {
    return `verbatim<${this.text}>`;
  }
}

/** The text of a JSON value, as it would come off the wire. */
export function toText(value: unknown): string {
  return JSON.stringify(value).replace(/"verbatim<(.*?)>"/g, (_, text) => JSON.parse(`"${text}"`));
}

/** One source's part in a verdict. */
export function leg(source: string, external_id: unknown, changes: Fields = {}): Fields {
  return { source, method: 'exact_match', confidence: 1, external_id, ...changes };
}

/** What LML says of a record whose artist it knows from two sources, unset fields being null as in production. */
export function singleArtist(library_id: number, changes: Fields = {}): Fields {
  const known = IDENTITIES[library_id] ?? { discogs: library_id, spotify: `spotify-${library_id}` };
  return {
    kind: 'single_artist',
    library_id,
    main: {
      discogs_artist_id: known.discogs,
      musicbrainz_artist_id: null,
      wikidata_qid: null,
      spotify_artist_id: known.spotify,
      apple_music_artist_id: null,
      bandcamp_id: null,
    },
    method: 'cross_source_agreement',
    confidence: 0.97,
    provenance: [
      leg('discogs', String(known.discogs)),
      leg('spotify', known.spotify, { method: 'name_variation', confidence: 0.95 }),
    ],
    tracks_attempted: false,
    tracks: [],
    ...changes,
  };
}

/** The same with some of the ids of its main row changed. */
export function withMain(verdict: Fields, changes: Fields): Fields {
  return { ...verdict, main: { ...(verdict.main as Fields), ...changes } };
}

/** What LML says of a record that none of its sources knows. */
export function unresolved(library_id: number, changes: Fields = {}): Fields {
  return {
    kind: 'unresolved',
    library_id,
    main: null,
    method: null,
    confidence: null,
    provenance: [],
    tracks_attempted: null,
    tracks: null,
    ...changes,
  };
}

/** What LML says of a compilation whose tracks its matcher has not visited. */
export function compilation(library_id: number, changes: Fields = {}): Fields {
  return unresolved(library_id, { kind: 'compilation', tracks_attempted: false, tracks: [], ...changes });
}

const nothing = { main: null, method: null, confidence: null, provenance: [] };

/** LML's verdicts, of each kind, in the shortest form that the wire allows. */
export const verdict = {
  resolved: (libraryId: number, discogsId = 41) => ({
    kind: 'single_artist',
    library_id: libraryId,
    main: { discogs_artist_id: discogsId },
    method: 'exact_match',
    confidence: 1,
    provenance: [{ source: 'discogs', method: 'exact_match', confidence: 1, external_id: String(discogsId) }],
  }),
  unresolved: (libraryId: number) => ({ kind: 'unresolved', library_id: libraryId, ...nothing }),
  compilation: (libraryId: number) => ({ kind: 'compilation', library_id: libraryId, ...nothing }),
  invalid: (libraryId: number) => ({ kind: 'hunch', library_id: libraryId, ...nothing }),
};

export const answerOf = (results: object[]): string => JSON.stringify({ results });

/** The answer that resolves every record of a request. */
export function resolveAll(request: string): string {
  const { inputs } = JSON.parse(request) as { inputs: { library_id: number }[] };
  return answerOf(inputs.map((input) => verdict.resolved(input.library_id)));
}
