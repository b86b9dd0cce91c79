// Histories at random: what LML answers, well-formed and mutated, what operators do, what the backend does meanwhile.
import fc from '../support/fast-check.js';
import { placesIn, Raw, repeatKey, UNREADABLE } from './json.js';
import { BANDS, type Fields, KNOWN_SOURCES } from './judge.js';
import { REFUSED_DISCOGS_ID, REFUSED_EXTERNAL_ID } from './model.js';

/** The libraries of a history; the last is never there. */
export const IDS = [1, 2, 3, 4];
export const NOWHERE = 4_000_000;

export interface AnswerStep {
  kind: 'answer';
  results: unknown[];
  requested: (number | null)[] | null;
  shape: 'whole' | 'array' | 'one' | 'cut short' | 'too deep' | 'no answer';
  version: unknown;
  stats: unknown;
  origin: string;
  daysAgo: number;
  strict: boolean;
  /** The ids were asked when the history last said `ask`, not now. */
  isLate: boolean;
}

/** What comes of a call of a run, and what happens to the library while it is under way. */
export interface Fate {
  came: AnswerStep | 422 | 503 | 'lost';
  meanwhile: Step | null;
}

export type Step =
  | AnswerStep
  /** The same answer in pieces, each a call of its own. */
  | { kind: 'cut'; answer: AnswerStep; at: number[] }
  /** The last answer once more, at another time. */
  | { kind: 'again'; daysAgo: number; origin: string }
  /** A call whose transaction is lost. */
  | { kind: 'lost'; answer: AnswerStep }
  /** A run: planned, claimed batch by batch, and answered. */
  | { kind: 'run'; scope: 'due' | 'ids'; size: number; isDry: boolean; fates: Fate[] }
  /** What a dry run has previewed is written. */
  | { kind: 'preview'; number: number }
  | { kind: 'ask' }
  | { kind: 'release' | 'hold' | 'delete' | 'restore'; id: number }
  | { kind: 'dismiss'; entry: number }
  | { kind: 'replay'; ids: number[] | null }
  | { kind: 'undo'; run: number; ids: number[] | null }
  | { kind: 'rename'; id: number; artist: string | null; title: string }
  | { kind: 'merge'; loser: number; survivor: number }
  | {
      kind: 'other';
      id: number;
      what: 'manual' | 'release id' | 'agreement' | 'ahead' | 'source' | 'identity' | 'link';
    }
  | { kind: 'prune' };

const id = fc.constantFrom(...IDS);
const word = fc.constantFrom(
  ...[
    'deezer',
    'youtube_music',
    'x'.repeat(64),
    'x'.repeat(65),
    '\u200b',
    '\u00a0',
    'é\u0301',
    '🎷'.repeat(33),
    'a\u202eb',
    '',
  ],
);
const method = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...Object.keys(BANDS)) }, word);
const source = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...KNOWN_SOURCES) }, word);
const share = fc.oneof(
  fc.constantFrom<unknown>(
    0,
    0.6,
    0.7,
    0.75,
    0.79,
    0.8,
    0.84,
    0.89,
    0.9,
    0.95,
    0.99,
    1,
    0.8999999762,
    0.59,
    0.995,
  ),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.constantFrom<unknown>(new Raw('1.0', 1), new Raw('95e-2', 0.95), new Raw('1e-400', 0), new Raw('-0', 0)),
);
const identifier = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('11442', '76040', 'Q1', 'å', 'Å', 'z') },
  { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 4 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(REFUSED_EXTERNAL_ID, '🎷'.repeat(512), '🎷'.repeat(513), '\u3000', '\ufeff'),
  },
);
/** A known method at the edges of its band, within the tolerance and beyond it. */
const atAnEdge = fc
  .tuple(fc.constantFrom(...Object.entries(BANDS)), fc.constantFrom(0, 1), fc.constantFrom(0, 5e-6, 2e-5))
  .map(([[name, band], edge, by]) => ({
    method: name,
    confidence: Math.min(1, Math.max(0, band[edge]! + (edge === 0 ? -by : by))),
  }));
const composed = fc.oneof({ weight: 2, arbitrary: fc.record({ method, confidence: share }) }, atAnEdge);
const found = fc
  .tuple(composed, fc.record({ source, external_id: identifier }))
  .map(([rated, named]) => ({ ...rated, ...named }));
const foundNothing = source.map((name) => ({
  ...{ source: name, method: null, confidence: null, external_id: null },
}));
const provenance = fc.array(fc.oneof({ weight: 4, arbitrary: found }, foundNothing), { maxLength: 4 });

const main = fc.record({
  discogs_artist_id: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom<unknown>(1, 2, null) },
    fc.constantFrom<unknown>(
      REFUSED_DISCOGS_ID,
      2147483647,
      2147483648,
      0,
      new Raw('7.0', 7),
      new Raw('70e-1', 7),
      '7',
    ),
  ),
  musicbrainz_artist_id: fc.option(identifier),
  spotify_artist_id: fc.option(fc.constantFrom('a', 'b')),
});

const TRACKS = [
  { artist_name: 'Ani DiFranco', track_title: null },
  { artist_name: 'Thom Yorke', track_title: 'Analyse' },
  { artist_name: 'Björk', track_title: 'Jóga' },
  { artist_name: 'Thom Yorke', track_title: 'analyse' },
];
const track = fc
  .tuple(
    fc.constantFrom(...TRACKS),
    fc.record({
      track_position: fc.constantFrom('A1', 'B2', null, 'x'.repeat(21), ' '),
      resolved_artist_name: fc.constantFrom(
        'Thom Yorke',
        'BJÖRK',
        'Bjo\u0308rk',
        'Twin',
        'Unknown',
        ' ',
        null,
      ),
      confidence: fc.oneof({ weight: 6, arbitrary: share }, fc.constantFrom<unknown>(null, 1.5, -1)),
      method,
      sources: fc.constant([]),
    }),
  )
  .map(([credit, matched]): Fields => ({ ...credit, ...matched }));

const nothing = { main: null, method: null, confidence: null, tracks_attempted: null, tracks: null };

/** Two verdicts that differ a little, so that what comes again is often the same. */
const PROFILES: Fields[] = [
  {
    main: { discogs_artist_id: 1, spotify_artist_id: 'a' },
    ...{ method: 'cross_source_agreement', confidence: 0.97 },
    provenance: [
      { source: 'discogs', method: 'exact_match', confidence: 1, external_id: '1' },
      { source: 'spotify', method: 'name_variation', confidence: 0.95, external_id: 'a' },
    ],
  },
  {
    main: { discogs_artist_id: 2 },
    ...{ method: 'exact_match', confidence: 1 },
    provenance: [
      { source: 'discogs', method: 'exact_match', confidence: 1, external_id: '2' },
      { source: 'spotify', method: 'name_variation', confidence: null, external_id: null },
      { source: 'deezer', method: 'exact_match', confidence: 1, external_id: '9' },
    ],
  },
  {
    main: { discogs_artist_id: 1, spotify_artist_id: 'a' },
    ...{ method: 'cross_source_agreement', confidence: 0.97 },
    provenance: [{ source: 'discogs', method: 'exact_match', confidence: 0.9, external_id: '1' }],
  },
];

const wellFormed: fc.Arbitrary<unknown> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(id, fc.constantFrom(...PROFILES))
      .map(([library_id, profile]) => ({ ...nothing, kind: 'single_artist', library_id, ...profile })),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(id, fc.record({ main, method, confidence: share, provenance }))
      .map(([library_id, composed]) => ({ ...nothing, kind: 'single_artist', library_id, ...composed })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.oneof({ weight: 3, arbitrary: fc.constant(4) }, id),
        fc.record({
          provenance: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, provenance),
          tracks_attempted: fc.constantFrom(true, true, false, null),
          tracks: fc.option(fc.array(track, { maxLength: 5 })),
          method: fc.option(method),
        }),
      )
      .map(([library_id, visited]) => ({ ...nothing, kind: 'compilation', library_id, ...visited })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(id, provenance)
      .map(([library_id, legs]) => ({ ...nothing, kind: 'unresolved', library_id, provenance: legs })),
  },
);

/** What may stand anywhere instead of what should. */
const somethingElse = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    '',
    ' ',
    0,
    1,
    -1,
    0.5,
    7.5,
    1e300,
    2 ** 31,
    true,
    false,
    [],
    {},
    [null],
  ),
  fc.constantFrom<unknown>('x'.repeat(513), NOWHERE, 'single_artist', 'unresolved', 'compilation', '1', 1, 2),
  fc.constantFrom<unknown>(
    new Raw('1e400', Number.POSITIVE_INFINITY),
    new Raw('-1e400', Number.NEGATIVE_INFINITY),
    new Raw('1.00000000000000000001', 1.0001),
    new Raw('0.99999999999999999999', 0.99999999),
    new Raw('1e200000', UNREADABLE),
    new Raw(`${'['.repeat(200)}${']'.repeat(200)}`, [[]]),
  ),
  fc.constantFrom<unknown>('\0', '\ud83c', '\udfb7\ud83c', { '\0': 1 }, '\\u0000', 'e\u0301', '\u202e'),
  fc.jsonValue({ maxDepth: 2 }),
);

const mutation = fc.record({
  at: fc.nat(),
  other: somethingElse,
  how: fc.constantFrom('put', 'put', 'first', 'last'),
});

export const result = fc
  .tuple(
    wellFormed,
    fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, fc.array(mutation, { maxLength: 2 })),
  )
  .map(([fine, mutations]) =>
    mutations.reduce<unknown>((value, { at, other, how }) => {
      if (how !== 'put') return repeatKey(value, at, other, how === 'last');
      const places = placesIn(value);
      return places.length > 0 ? places[at % places.length]!.put(other) : value;
    }, fine),
  );

const daysAgo = fc.constantFrom(40, 30.5, 29, 20, 8, 7, 6, 1, 0.5, 0.01, -0.0005);

const service = 'consumer:lml-bulk';
const origin = fc.constantFrom(service, service, service, service, 'repair:a', 'repair:b');

const answer: fc.Arbitrary<AnswerStep> = fc.record({
  kind: fc.constant('answer'),
  results: fc.array(result, { maxLength: 5 }),
  requested: fc.oneof(
    { weight: 9, arbitrary: fc.constant(IDS as (number | null)[]) },
    {
      weight: 2,
      arbitrary: fc.array(fc.oneof({ weight: 5, arbitrary: id }, fc.constantFrom(NOWHERE, null)), {
        maxLength: 5,
      }),
    },
    fc.constant(null),
  ),
  shape: fc.oneof(
    { weight: 12, arbitrary: fc.constant('whole') },
    fc.constantFrom('array', 'one', 'cut short', 'no answer', 'too deep'),
  ) as fc.Arbitrary<AnswerStep['shape']>,
  version: fc.constantFrom<unknown>(1, 1, 1, 1, null, undefined, 7, '1', new Raw('1.0', 1)),
  stats: fc.constantFrom<unknown>(null, undefined, { pg_hits: 1 }, { '\0': '\ud83c' }),
  origin,
  daysAgo: fc.oneof({ weight: 30, arbitrary: daysAgo }, fc.constant(-0.01)),
  strict: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  isLate: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
});

const someIds = fc.option(fc.uniqueArray(id, { maxLength: 2 }));

const rename = fc.record({
  kind: fc.constant('rename'),
  id,
  artist: fc.constantFrom('Ani DiFranco', 'Prince', 'e\u0301', ' \u3000', null),
  title: fc.constantFrom('Untitled', 'Dilate'),
});
const meanwhile = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null) },
  { weight: 2, arbitrary: rename },
  fc.record({ kind: fc.constantFrom('release', 'hold', 'delete', 'restore'), id }),
);
const run = fc.record({
  kind: fc.constant('run'),
  scope: fc.constantFrom('due', 'ids'),
  size: fc.integer({ min: 1, max: 4 }),
  isDry: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
  fates: fc.array(
    fc.record({
      came: fc.oneof({ weight: 6, arbitrary: answer }, fc.constantFrom(422, 422, 503, 'lost')),
      meanwhile,
    }),
    { maxLength: 6, size: 'max' },
  ),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 24, arbitrary: answer },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('cut'), answer, at: fc.array(fc.nat(5), { maxLength: 3 }) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('again'), daysAgo, origin }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lost'), answer }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('ask') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('release'), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('hold'), id }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete'), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restore'), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('dismiss'), entry: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('replay'), ids: someIds }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('undo'), run: fc.nat(5), ids: someIds }) },
  { weight: 3, arbitrary: rename },
  { weight: 6, arbitrary: run },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('preview'), number: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('merge'), loser: id, survivor: id }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('other'),
      id,
      what: fc.constantFrom('manual', 'release id', 'agreement', 'ahead', 'source', 'identity', 'link'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('prune') }) },
) as fc.Arbitrary<Step>;

export const history = fc.array(step, { minLength: 1, maxLength: 16, size: 'max' });
