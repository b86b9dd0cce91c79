// The wire contract, as one function: what a result says, or that it breaks a rule. Written from the contract and apart
// from the SQL. "Silent" marks what the contract leaves open and the model takes from the service.

export const KNOWN_SOURCES = ['discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'];

/** A method's band of confidence. A bound has a tolerance, since LML's confidences are float4. */
export const BANDS: Record<string, [low: number, high: number]> = {
  manual: [1, 1],
  cross_source_agreement: [0, 1],
  exact_match: [1, 1],
  name_variation: [0.9, 0.99],
  member_group: [0.8, 0.89],
  alias_match: [0.75, 0.84],
  trigram: [0.7, 1],
  llm: [0.6, 0.79],
};
const TOLERANCE = 0.00001;

/** The ids of a main row, by their names on the wire. */
export const IDS = {
  discogs_artist_id: 'discogs_artist_id',
  musicbrainz_artist_id: 'musicbrainz_artist_id',
  wikidata_qid: 'wikidata_qid',
  spotify_artist_id: 'spotify_id',
  apple_music_artist_id: 'apple_music_id',
  bandcamp_id: 'bandcamp_id',
} as const;

/** What LML composes of a main row. */
export interface Content {
  discogs_artist_id: number | null;
  musicbrainz_artist_id: string | null;
  wikidata_qid: string | null;
  spotify_id: string | null;
  apple_music_id: string | null;
  bandcamp_id: string | null;
  method: string;
  confidence: number;
}

export interface Leg {
  source: string;
  external_id: string;
  method: string;
  confidence: number;
}

export interface Track {
  artist: string;
  title: string | null;
  resolved: string | null;
  confidence: number | null;
  position: string | null;
  isAmbiguous: boolean;
  isOutOfRange: boolean;
}

/** A result that keeps the contract. */
export interface Verdict {
  kind: 'single_artist' | 'compilation' | 'unresolved';
  content: Content | null;
  legs: Leg[];
  nullConfidence: number;
  duplicates: number;
  outOfBand: number;
  unknown: number;
  /** Undefined: the track matcher has not visited it, or cannot say so. */
  tracks?: (Track | 'unusable')[];
}

export type Fields = Record<string, unknown>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isNothing = (value: unknown): value is null | undefined => value === null || value === undefined;

const lengthOf = (text: string) => [...text].length;
export const isBlank = (text: string | null) => /^\p{White_Space}*$/u.test(text ?? '');

export const isInteger = (value: unknown, least: number): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= 2147483647;

const isShare = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 1;

const isIdentifier = (value: unknown): value is string =>
  typeof value === 'string' && !isBlank(value) && lengthOf(value) <= 512;

/** A number as a column of type real holds it. Silent: one next to nothing is rounded to 12 places first. */
const toReal = (value: number) => Math.fround(value < 0.000001 ? Math.round(value * 1e12) / 1e12 : value);

/** A source or method that is not known is written as it came, where a person can read it. */
const isReadableWord = (value: unknown): value is string =>
  typeof value === 'string' &&
  lengthOf(value) >= 1 &&
  lengthOf(value) <= 64 &&
  !isBlank(value) &&
  !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value);

const isMethod = (value: unknown, strict: boolean): value is string =>
  typeof value === 'string' && (Object.hasOwn(BANDS, value) || (!strict && isReadableWord(value)));

const isSource = (value: unknown, strict: boolean): value is string =>
  typeof value === 'string' && (KNOWN_SOURCES.includes(value) || (!strict && isReadableWord(value)));

function isInBand({ method, confidence }: Leg): boolean {
  const band = Object.hasOwn(BANDS, method) ? BANDS[method] : undefined;
  return !band || (confidence >= band[0] - TOLERANCE && confidence <= band[1] + TOLERANCE);
}

const bytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));

/** Reads a result; undefined where it breaks the contract. */
export function judge(result: unknown, strict: boolean, version: unknown): Verdict | undefined {
  if (!isFields(result)) return undefined;
  const { kind, main, method, confidence, provenance, tracks_attempted: attempted, tracks } = result;

  if (!isInteger(result.library_id, -2147483648)) return undefined;
  if (kind !== 'single_artist' && kind !== 'compilation' && kind !== 'unresolved') return undefined;
  if (!isNothing(confidence) && !isShare(confidence)) return undefined;
  if (!isNothing(attempted) && typeof attempted !== 'boolean') return undefined;
  if (!isNothing(tracks) && !Array.isArray(tracks)) return undefined;

  const legs = Array.isArray(provenance) ? judgeLegs(provenance, strict) : undefined;
  if (!legs) return undefined;
  const counts = {
    nullConfidence: (provenance as unknown[]).length - legs.length,
    ...bestOf(legs),
  };

  if (kind === 'single_artist') {
    if (!isFields(main) || !isMethod(method, strict) || !isShare(confidence)) return undefined;
    const ids = Object.keys(IDS).map((name) => [name, main[name] ?? null] as const);
    const areIdsValid = ids.every(
      ([name, id]) => id === null || (name === 'discogs_artist_id' ? isInteger(id, 1) : isIdentifier(id)),
    );
    if (!areIdsValid) return undefined;
    if (strict && legs.some((leg) => !isInBand(leg))) return undefined;
    // Names no artist.
    if (legs.length === 0 && ids.every(([, id]) => id === null)) return undefined;
    const columns = Object.fromEntries(ids.map(([name, id]) => [IDS[name as keyof typeof IDS], id]));
    return { kind, content: { ...columns, method, confidence: toReal(confidence) } as Content, ...counts };
  }

  if (!isNothing(main)) return undefined;
  if (!isNothing(method) && (kind === 'unresolved' || !isMethod(method, strict))) return undefined;
  const isVisited =
    kind === 'compilation' && version === 1 && (attempted === true || (tracks ?? []).length > 0);
  return { kind, content: null, ...counts, ...(isVisited ? { tracks: judgeTracks(tracks ?? []) } : {}) };
}

/** The legs that found something; undefined where one of them all breaks the contract. */
function judgeLegs(provenance: unknown[], strict: boolean): Leg[] | undefined {
  const legs: Leg[] = [];
  for (const leg of provenance) {
    if (!isFields(leg) || !isSource(leg.source, strict)) return undefined;
    const { source, method, confidence, external_id } = leg;
    if (isNothing(confidence)) {
      if (!isNothing(external_id)) return undefined;
      if (!isNothing(method) && !isMethod(method, strict)) return undefined;
    } else {
      if (!isShare(confidence) || !isIdentifier(external_id) || !isMethod(method, strict)) return undefined;
      legs.push({ source, external_id, method, confidence });
    }
  }
  return legs;
}

/** Of one source named twice the leg of highest confidence is written, then that of the first id in byte order. */
function bestOf(legs: Leg[]) {
  const best = new Map<string, Leg>();
  for (const leg of legs) {
    const other = best.get(leg.source);
    const isBetter =
      !other ||
      (toReal(leg.confidence) - toReal(other.confidence) ||
        bytes(other.external_id, leg.external_id) ||
        bytes(other.method, leg.method)) > 0;
    if (isBetter) best.set(leg.source, leg);
  }
  const kept = [...best.values()];
  return {
    legs: kept.map((leg) => ({ ...leg, confidence: toReal(leg.confidence) })),
    duplicates: legs.length - kept.length,
    outOfBand: kept.filter((leg) => !isInBand(leg)).length,
    unknown: kept.filter((leg) => !KNOWN_SOURCES.includes(leg.source) || !Object.hasOwn(BANDS, leg.method))
      .length,
  };
}

// Silent: what is white space only in a track is blank by ASCII's white space alone.
const hasText = (text: string) => !/^[ \t\n\v\f\r]*$/.test(text);

const isTextOrNothing = (value: unknown, most: number) =>
  isNothing(value) || (typeof value === 'string' && lengthOf(value) <= most);

/** One usable entry a key: that of highest confidence, then the first. Those that are unusable cost themselves alone. */
function judgeTracks(entries: unknown[]): (Track | 'unusable')[] {
  const judged = entries.map(judgeTrack);
  const byKey = new Map<string, Track[]>();
  for (const track of judged) {
    if (track === 'unusable') continue;
    const key = JSON.stringify([track.artist, track.title]);
    byKey.set(key, [...(byKey.get(key) ?? []), track]);
  }
  const best = [...byKey.values()].map((tracks) => {
    const positions = new Set(tracks.flatMap(({ position }) => position ?? []));
    const first = tracks.reduce((one, other) =>
      (other.confidence ?? -1) > (one.confidence ?? -1) ? other : one,
    );
    return {
      ...first,
      position: positions.size === 1 ? [...positions][0]! : null,
      isAmbiguous: positions.size > 1,
    };
  });
  return [...best, ...judged.filter((track) => track === 'unusable')];
}

function judgeTrack(entry: unknown): Track | 'unusable' {
  if (!isFields(entry)) return 'unusable';
  const { artist_name, track_title, resolved_artist_name, track_position, confidence } = entry;
  const isUsable =
    typeof artist_name === 'string' &&
    lengthOf(artist_name) <= 255 &&
    hasText(artist_name) &&
    isTextOrNothing(track_title, 255) &&
    isTextOrNothing(resolved_artist_name, 255) &&
    isTextOrNothing(track_position, Number.POSITIVE_INFINITY) &&
    (isNothing(confidence) || typeof confidence === 'number');
  if (!isUsable) return 'unusable';
  const textOf = (value: unknown) => (typeof value === 'string' && hasText(value) ? value : null);
  return {
    artist: artist_name,
    title: (track_title as string | null | undefined) ?? null,
    resolved: textOf(resolved_artist_name),
    confidence: isShare(confidence) ? toReal(confidence) : null,
    position: textOf(track_position),
    isAmbiguous: false,
    isOutOfRange: !isNothing(confidence) && !isShare(confidence),
  };
}
