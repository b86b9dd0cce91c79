import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';

// From src and from dist alike, since the compiler carries TypeScript only.
const DATA = new URL('../../src/demo/data/', import.meta.url);

const PATH = '/api/v1/identity/bulk-resolve-libraries';
const INPUT_CAP = 1000;
const AGREEMENT_FLOOR = 0.95;

const SOURCES = [
  ['discogs', 'discogs_artist_id'],
  ['musicbrainz', 'musicbrainz_artist_id'],
  ['wikidata', 'wikidata_qid'],
  ['spotify', 'spotify_artist_id'],
  ['apple_music', 'apple_music_artist_id'],
  ['bandcamp', 'bandcamp_id'],
] as const;

// What a leg may be, how often of sixteen, and its confidence in hundredths. LML drops what is below 0.70.
const LEGS = [
  { method: 'exact_match', share: 8, low: 100, high: 100 },
  { method: 'name_variation', share: 3, low: 90, high: 99 },
  { method: 'member_group', share: 1, low: 80, high: 89 },
  { method: 'alias_match', share: 2, low: 75, high: 84 },
  { method: 'trigram', share: 1, low: 70, high: 99 },
  { method: 'llm', share: 1, low: 70, high: 79 },
];
const WHEEL = LEGS.flatMap((leg) => Array<typeof leg>(leg.share).fill(leg));

// The oddities of production, and how often of 256: a leg from an older store is labelled exact at any confidence, and a
// search that found nothing may be named nevertheless.
const INHERITED = { method: 'exact_match', share: 8, low: 70, high: 99 };
const FRUITLESS_SHARE = 3;

// How often of 256 the matcher of tracks fails to find whom a credit means.
const MISSED_SHARE = 24;

// What share of the shelves it knows in the real mix.
const RESOLVED_SHARE = 0.484;

// LML recognizes a compilation by its artist's name alone.
const COMPILATION_NAME =
  /^(?:(?:various|soundtrack|compilation)$|(?:various artists|v\/a|v\.a|soundtracks)(?![\p{L}\p{N}]))/iu;

interface TextIds {
  musicbrainz_artist_id: string | null;
  wikidata_qid: string | null;
  spotify_artist_id: string | null;
  apple_music_artist_id: string | null;
  bandcamp_id: string | null;
}

/** What LML stores about an artist. Its ids are text, and a Discogs id that is not a number makes LML fail. */
export interface ArtistIdentity extends TextIds {
  artist_name: string;
  discogs_artist_id: number | string | null;
}

export type Identities = Pick<ReadonlyMap<string, ArtistIdentity>, 'get'>;

/**
 * What may be wrong with LML while it answers 200: `overloaded` resolves nothing, `shifted` names another artist's ids,
 * `new_kind` calls its verdicts by a name that no client knows, `store_down` cannot read the tracks that it has matched.
 */
export const MOODS = ['overloaded', 'shifted', 'new_kind', 'store_down'] as const;

export type Mood = (typeof MOODS)[number];

/** A real various-artists release; `name` is how Discogs has it, with a number where several share it: `Usher (2)`. */
export interface Compilation {
  discogs_release_id: number;
  artist_name: string;
  album_title: string;
  tracks: {
    track_position: string | null;
    track_title: string | null;
    artists: { discogs_artist_id: number; name: string }[];
  }[];
}

/** Releases by their title. Of several with one title the first counts. */
export type Compilations = ReadonlyMap<string, Compilation>;

// What anybody may set while it is up: curl -X POST 'URL/stand-in?mood=shifted'. What is not named is as at its start.
const CONTROL_PATH = '/stand-in';
const controlSchema = z.strictObject({
  mood: z.enum(MOODS).optional(),
  mix: z.enum(['real']).optional(),
  latency: z.coerce.number().int().min(0).max(600_000).optional(),
  source: z.string().optional(),
  method: z.string().optional(),
  mainKey: z.string().optional(),
  resultKey: z.string().optional(),
});

const requestSchema = z.object({
  inputs: z
    .array(
      z.object({
        library_id: z.int(),
        artist_name: z.string().regex(/\S/, 'must not be blank'),
        album_title: z.string(),
        legacy_release_id: z.int().nullish(),
      }),
    )
    .min(1),
  include_tracks: z.boolean().default(false),
});

export type Input = z.infer<typeof requestSchema>['inputs'][number];

export interface Provenance {
  source: string;
  method: string;
  confidence: number | null;
  external_id: string | null;
}

export interface Result {
  kind: 'single_artist' | 'compilation' | 'unresolved';
  library_id: number;
  main: (TextIds & { discogs_artist_id: number | null }) | null;
  method: string | null;
  confidence: number | null;
  provenance: Provenance[];
  tracks_attempted: boolean | null;
  tracks: Track[] | null;
}

export interface Track {
  track_position: string | null;
  artist_name: string;
  track_title: string | null;
  resolved_artist_name: string | null;
  confidence: number | null;
  method: string | null;
  sources: Provenance[];
}

/** A call that has passed LML's checks and awaits its answer. */
export interface Call {
  index: number;
  inputs: Input[];
  /** The answer that the stand-in would give. */
  defaultBody: () => string;
}

/** An answer in place of the default one. What it leaves out is as in the default. */
export interface Reply {
  status?: number;
  headers?: OutgoingHttpHeaders;
  body?: string | Buffer;
  delayMs?: number;
  /** Cuts the connection in the middle of the body. */
  destroy?: boolean;
  /** Sends the headers, then nothing more. */
  stall?: boolean;
  /** Sends the body in small pieces. */
  drip?: { bytes: number; everyMs: number };
}

export type Answer = (call: Call) => Reply | undefined | Promise<Reply | undefined>;

export interface CallLog {
  at: Date;
  path: string;
  headers: IncomingHttpHeaders;
  ids: number[];
  /** Null while there is no answer, and it stays null where the client gave up first. */
  status: number | null;
  /** Calls in flight when this one came, itself included. */
  inFlight: number;
}

export interface StandInOptions {
  identities: Identities;
  /** Releases whose tracks the matcher has visited. It answers them under version 1 of the tracks contract only. */
  compilations?: Compilations;
  latencyMs?: number;
  apiKey?: string;
  tracksContractVersion?: number;
  mood?: Mood;
  /** What LML has added since: each verdict that resolves a row has it. */
  additions?: Additions;
  answer?: Answer;
}

/** A source, a method of that source, and keys of `main` and of the result, none of which the published contract has. */
export interface Additions {
  source?: string;
  method?: string;
  mainKey?: string;
  resultKey?: string;
}

export interface StandIn {
  readonly url: string;
  readonly calls: readonly CallLog[];
  readonly maxInFlight: number;
  readonly connections: number;
  /** How often each library was asked for, whether it was answered or not. */
  askedIds(): Map<number, number>;
  respondWith(answer: Answer | null): void;
  /** From now on its answers are as this mood has them; null is good health. */
  turn(mood: Mood | null): void;
  /** From now on its verdicts have this as well. */
  gain(additions: Additions): void;
  close(): Promise<void>;
}

/** Reads the real artists of the demo's data, by their name as the catalogue spells it. */
export function loadIdentities(): Map<string, ArtistIdentity> {
  const file = readFileSync(new URL('identities.json.gz', DATA));
  const artists: ArtistIdentity[] = JSON.parse(gunzipSync(file).toString());
  return new Map(artists.map((artist) => [artist.artist_name, artist]));
}

/** Reads the real compilations of the demo's data. */
export function loadCompilations(): Map<string, Compilation> {
  const file = readFileSync(new URL('compilations.json.gz', DATA));
  const releases: Compilation[] = JSON.parse(gunzipSync(file).toString());
  return new Map(releases.toReversed().map((release) => [release.album_title, release]));
}

/**
 * The mix of a first run in production: about 48 of 100 rows are resolved, and whole shelves are not, a shelf being the first
 * two letters of a name. An artist that the store does not know gets a made-up id.
 */
export function realMix(known: Identities): Identities {
  return {
    get(name) {
      const shelf = createHash('sha256')
        .update(`shelf f ${name.slice(0, 2).toLowerCase()}`)
        .digest();
      if (shelf.readUInt16BE() >= RESOLVED_SHARE * 2 ** 16) return undefined;
      const drawn = createHash('sha256').update(`id of ${name}`).digest().readUInt32BE() >>> 4;
      return known.get(name) ?? { ...NO_IDS, artist_name: name, discogs_artist_id: drawn + 1 };
    },
  };
}

/** A verdict as LML gives it in this mood. */
export function inMood(mood: Mood | null, result: Result): Omit<Result, 'kind'> & { kind: string } {
  const { kind, library_id, main, provenance, tracks_attempted } = result;
  switch (mood) {
    case 'overloaded':
      return kind === 'single_artist' ? { kind: 'unresolved', library_id, ...nothing, ...noTracks } : result;
    case 'shifted':
      return {
        ...result,
        main: main && withNextIds(main),
        provenance: provenance.map((leg) => ({
          ...leg,
          external_id: nextId(leg.external_id) as string | null,
        })),
      };
    case 'new_kind':
      return { ...result, kind: 'ensemble' };
    case 'store_down':
      return tracks_attempted === null ? result : { ...result, tracks_attempted: false, tracks: [] };
    default:
      return result;
  }
}

/** The id that comes after this one, a number or the last letter of a text. */
function nextId(id: number | string | null): number | string | null {
  if (id === null) return null;
  if (/^\d+$/.test(String(id))) return typeof id === 'number' ? id + 1 : String(Number(id) + 1);
  const text = String(id);
  return text.slice(0, -1) + (text.endsWith('a') ? 'b' : 'a');
}

const withNextIds = <Ids extends object>(ids: Ids): Ids =>
  Object.fromEntries(Object.entries(ids).map(([key, id]) => [key, nextId(id)])) as Ids;

/**
 * The verdict on one input. The ids are those of the store; method and confidence are drawn from a hash of
 * the artist's name, so that the same artist gets the same verdict in every run.
 */
export function identityVerdict(
  input: Input,
  identities: Identities,
  includeTracks = false,
  compilations: Compilations = new Map(),
): Result {
  const { library_id } = input;
  // Where tracks were asked for and no matcher has visited the row, the answer is "not yet".
  const tracks = includeTracks ? { tracks_attempted: false, tracks: [] } : noTracks;

  if (COMPILATION_NAME.test(input.artist_name)) {
    const release = includeTracks && compilations.get(input.album_title);
    const visited = release && { tracks_attempted: true, tracks: matchTracks(release) };
    return { kind: 'compilation', library_id, ...nothing, ...(visited || tracks) };
  }

  const identity = identities.get(input.artist_name);
  const composed = identity && compose(identity);
  if (!composed) return { kind: 'unresolved', library_id, ...nothing, ...noTracks };

  return { kind: 'single_artist', library_id, ...composed, ...tracks };
}

const nothing = { main: null, method: null, confidence: null, provenance: [] };
const noTracks = { tracks_attempted: null, tracks: null };
const NO_IDS = {
  musicbrainz_artist_id: null,
  wikidata_qid: null,
  spotify_artist_id: null,
  apple_music_artist_id: null,
  bandcamp_id: null,
};

/**
 * Composes an artist's legs as LML does: one alone speaks for itself, two or more agree, and agreement lifts
 * the weakest confidence to 0.95 at least. Without any leg there is no identity.
 */
function compose(identity: ArtistIdentity) {
  const { artist_name, discogs_artist_id, ...textIds } = identity;
  const draws = createHash('sha256').update(artist_name).digest();
  const provenance = SOURCES.flatMap(([source, column], index) =>
    drawProvenance(source, identity[column], draws.subarray(index * 3)),
  );
  const confidences = provenance.flatMap((entry) => entry.confidence ?? []);
  if (confidences.length === 0) return null;

  const weakest = Math.min(...confidences);
  const agreed = confidences.length > 1;
  return {
    main: { discogs_artist_id: storedInteger(discogs_artist_id), ...textIds },
    method: agreed
      ? 'cross_source_agreement'
      : provenance.find((entry) => entry.confidence === weakest)!.method,
    confidence: agreed ? Math.max(AGREEMENT_FLOOR, weakest) : weakest,
    provenance,
  };
}

/** A verdict as a newer LML would give it. Rows that it does not resolve stay as they are. */
export function withAdditions(result: Result, additions: Additions): Result {
  if (!result.main) return result;
  const { source = '', method = 'exact_match', mainKey, resultKey } = additions;
  const leg = { source, method, confidence: 1, external_id: `${source}-${result.library_id}` };
  return {
    ...result,
    ...(resultKey && { [resultKey]: {} }),
    main: { ...result.main, ...(mainKey && { [mainKey]: null }) },
    provenance: source ? [...result.provenance, leg] : result.provenance,
  };
}

/** An entry for each artist of each track: whom the credit means, which the matcher does not always find. */
function matchTracks({ tracks }: Compilation): Track[] {
  return tracks.flatMap(({ track_position, track_title, artists }) =>
    artists.map(({ discogs_artist_id, name }) => {
      const credit = { track_position, artist_name: name, track_title };
      const draws = createHash('sha256').update(`track of ${name}`).digest();
      const [leg] = drawProvenance('discogs', discogs_artist_id, draws);
      if (!leg || draws[3]! < MISSED_SHARE) {
        return { ...credit, resolved_artist_name: null, confidence: null, method: null, sources: [] };
      }
      const { confidence, method } = leg;
      return {
        ...credit,
        resolved_artist_name: name.replace(/ \(\d+\)$/, ''),
        confidence,
        method,
        sources: [leg],
      };
    }),
  );
}

/** One source's entry, drawn from its own three bytes: a leg where there is an id, else usually nothing. */
function drawProvenance(
  source: Provenance['source'],
  id: number | string | null,
  draws: Buffer,
): Provenance[] {
  const [kind = 0, height = 0, oddity = 0] = draws;
  const drawn = WHEEL[kind % WHEEL.length]!;
  if (id === null) {
    const fruitless = { source, method: drawn.method, confidence: null, external_id: null };
    return oddity < FRUITLESS_SHARE ? [fruitless] : [];
  }
  const { method, low, high } = oddity < INHERITED.share ? INHERITED : drawn;
  // LML keeps confidences as float4, which shows: 0.9 comes as 0.8999999761581421.
  const confidence = Math.fround((low + (height % (high - low + 1))) / 100);
  return [{ source, method, confidence, external_id: String(id) }];
}

/** Fails, as LML does, where the stored id is not a number. */
function storedInteger(id: number | string | null): number | null {
  if (id === null) return null;
  const integer = Number(id);
  if (!Number.isInteger(integer)) throw new TypeError(`stored Discogs id is no number: ${id}`);
  return integer;
}

/**
 * Starts an HTTP server on the loopback that plays LML, down to the order of its checks. A test may take over
 * the answers with `answer` or `respondWith`, to break any part of one over the real socket.
 */
export async function startStandIn(options: StandInOptions): Promise<StandIn> {
  const { apiKey, tracksContractVersion = null } = options;
  const compilations = tracksContractVersion === 1 ? options.compilations : undefined;
  const calls: CallLog[] = [];
  let answer = options.answer ?? null;
  const atStart = {
    mood: options.mood ?? null,
    additions: options.additions ?? {},
    latencyMs: options.latencyMs ?? 0,
    identities: options.identities,
  };
  let played = { ...atStart };
  let inFlight = 0;
  let maxInFlight = 0;
  let connections = 0;

  /** LML's checks in LML's order, then the answer. */
  async function decide(request: IncomingMessage, call: CallLog): Promise<Reply> {
    const bytes = await buffer(request);
    if (request.url !== PATH) return refusal(404, 'Not Found');
    if (request.method !== 'POST') {
      return { ...refusal(405, 'Method Not Allowed'), headers: { allow: 'POST' } };
    }

    const { authorization } = request.headers;
    if (apiKey && !authorization) return refusal(401, 'Missing API key');
    if (apiKey && authorization !== `Bearer ${apiKey}`) return refusal(403, 'Invalid API key');

    const body = parseJson(bytes);
    if (body === undefined) return refusal(400, 'Malformed JSON body');
    if (!isObject(body)) return refusal(400, 'Request body must be a JSON object');

    const asked: unknown[] = Array.isArray(body.inputs) ? body.inputs : [];
    call.ids = asked
      .flatMap((input) => (isObject(input) ? (input.library_id as number) : []))
      .filter(Number.isInteger);
    if (asked.length > INPUT_CAP) {
      return refusal(413, `Batch exceeded the ${INPUT_CAP}-input cap (received ${asked.length})`);
    }
    const valid = requestSchema.safeParse(body);
    if (!valid.success) return refusal(422, 'Validation failed', valid.error.issues);

    const { inputs, include_tracks } = valid.data;
    const { mood, additions, latencyMs, identities } = played;
    const defaultBody = () =>
      JSON.stringify({
        results: inputs.map((input) =>
          inMood(
            mood,
            withAdditions(identityVerdict(input, identities, include_tracks, compilations), additions),
          ),
        ),
        cache_stats: null,
        tracks_contract_version: tracksContractVersion,
      });

    const injected = await answer?.({ index: calls.indexOf(call), inputs, defaultBody });
    if (injected) {
      return { delayMs: latencyMs, ...injected, body: injected.body ?? bodyFor(injected, defaultBody) };
    }
    if (inputs.some(isPoison)) return refusal(503, 'Entity store is not available');
    return { body: defaultBody(), delayMs: latencyMs };
  }

  /** Says what is played from now on, or what may be. */
  function control(response: ServerResponse, url: URL): void {
    const asked = controlSchema.safeParse(Object.fromEntries(url.searchParams));
    if (asked.success) {
      const { mood, mix, latency, ...additions } = asked.data;
      played = { ...atStart };
      if (mood) played.mood = mood;
      if (mix) played.identities = realMix(options.identities);
      if (latency !== undefined) played.latencyMs = latency;
      if (Object.keys(additions).length > 0) played.additions = additions as Additions;
    }
    response.writeHead(asked.success ? 200 : 400, { 'content-type': 'text/plain' });
    response.end(
      asked.success ? `plays ${url.search || 'as at its start'}\n` : `${z.prettifyError(asked.error)}\n`,
    );
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://stand-in');
    if (request.method === 'POST' && url.pathname === CONTROL_PATH) return control(response, url);
    inFlight += 1;
    maxInFlight = Math.max(maxInFlight, inFlight);
    const call: CallLog = {
      at: new Date(),
      path: request.url ?? '',
      headers: request.headers,
      ids: [],
      status: null,
      inFlight,
    };
    calls.push(call);
    const gone = new AbortController();
    response.once('close', () => {
      inFlight -= 1;
      gone.abort();
    });

    const reply = await decide(request, call).catch(() => unexpected);
    await send(response, reply, call, gone.signal).catch((error) => {
      if (!gone.signal.aborted) throw error;
    });
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    get maxInFlight() {
      return maxInFlight;
    },
    get connections() {
      return connections;
    },
    askedIds() {
      const times = new Map<number, number>();
      for (const id of calls.flatMap((call) => call.ids)) times.set(id, (times.get(id) ?? 0) + 1);
      return times;
    },
    respondWith(next) {
      answer = next;
    },
    turn(mood) {
      played.mood = mood;
    },
    gain(additions) {
      played.additions = additions;
    },
    async close() {
      await new Promise((closed) => {
        server.close(closed);
        server.closeAllConnections();
      });
    },
  };
}

/** Puts a reply on the wire, with the fault that it asks for, and stops as soon as the client has gone. */
async function send(response: ServerResponse, reply: Reply, call: CallLog, gone: AbortSignal): Promise<void> {
  const { status = 200, headers, delayMs = 0, destroy, stall, drip } = reply;
  const body = Buffer.from(reply.body ?? '');
  if (delayMs > 0) await sleep(delayMs, undefined, { signal: gone });
  gone.throwIfAborted();

  call.status = status;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...headers,
  });
  if (stall) {
    response.flushHeaders();
  } else if (destroy) {
    response.write(body.subarray(0, body.length / 2), () => response.destroy());
  } else if (drip) {
    for (let from = 0; from < body.length; from += drip.bytes) {
      response.write(body.subarray(from, from + drip.bytes));
      await sleep(drip.everyMs, undefined, { signal: gone });
    }
    response.end();
  } else {
    response.end(body);
  }
}

const unexpected: Reply = {
  status: 500,
  headers: { 'content-type': 'text/plain' },
  body: 'Internal Server Error',
};

/** LML's own shape of an error. */
function refusal(status: number, message: string, details?: unknown): Reply {
  return { status, body: JSON.stringify({ message, details }) };
}

/** An injected status without a body of its own gets LML's usual words for it. */
function bodyFor({ status = 200 }: Reply, defaultBody: () => string): string {
  return status < 400 ? defaultBody() : JSON.stringify({ message: STATUS_CODES[status] ?? 'Error' });
}

/** LML's database takes neither a NUL nor a lone surrogate; a compilation's name never gets that far. */
function isPoison({ artist_name }: Input): boolean {
  return (
    !COMPILATION_NAME.test(artist_name) && (artist_name.includes('\0') || /\p{Surrogate}/u.test(artist_name))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined where the bytes are no JSON, or no UTF-8. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
