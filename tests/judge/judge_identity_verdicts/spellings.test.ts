// The same verdicts said in another way: results, legs, tracks and keys in another order, numbers and texts spelled
// otherwise, null for what is missing. They change nothing, and write nothing.
import { beforeEach, expect, test } from 'vitest';
import fc from '../../support/fast-check.js';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  SANGOMA,
  SERVICE,
  singleArtist,
  unresolved,
  useWriter,
  VARIOUS,
} from '../../support/writer.js';

const writer = useWriter();

const CREDITS = ['Analyse', 'Harrowdown Hill', 'Atoms for Peace'].map((track_title) => ({
  library_id: VARIOUS,
  artist_name: 'Thom Yorke',
  track_title,
}));

beforeEach(() => writer.sql`insert into wxyc_schema.compilation_track_artist ${writer.sql(CREDITS)}`);

/** Random choices that a seed repeats. */
function choices(seed: number) {
  let state = seed;
  return (count: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

function shuffled<T>(list: T[], choose: (count: number) => number): T[] {
  return list
    .map((item) => [choose(1_000_000), item] as const)
    .sort(([one], [other]) => one - other)
    .map(([, item]) => item);
}

/** A number from 0 up, to its last digit and without an exponent. */
const plain = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(12));

const NUMBERS: ((value: number) => string)[] = [
  (value) => JSON.stringify(value),
  (value) => (Number.isInteger(value) ? `${value}.0` : `${plain(value)}000`),
  (value) => `${plain(value)}e0`,
  (value) => `${plain(value)}E+00`,
  (value) => (Number.isInteger(value) && value > 0 ? `${value}0e-1` : plain(value)),
];

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** The JSON text of a value in one of the many ways to say it. */
function respelled(value: unknown, choose: (count: number) => number): string {
  if (typeof value === 'number') return NUMBERS[choose(NUMBERS.length)]!(value);
  if (typeof value === 'string')
    return choose(3) === 0 ? `"${value.split('').map(escaped).join('')}"` : JSON.stringify(value);
  if (Array.isArray(value))
    return `[ ${shuffled(value, choose)
      .map((item) => respelled(item, choose))
      .join(' ,\n')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const stated = Object.entries(value).filter(([, field]) => field !== null || choose(2) === 0);
  return `{${shuffled(stated, choose)
    .map(([key, field]) => `${respelled(key, choose)}: ${respelled(field, choose)}`)
    .join(', ')}}`;
}

const METHODS = ['exact_match', 'name_variation', 'trigram', 'llm'];
const confidence = fc.constantFrom(0, 1, 0.5, 0.97, 0.8999999762, 0.9, 1e-7);
const found = fc
  .record({
    source: fc.constantFrom('discogs', 'spotify', 'wikidata'),
    id: fc.constantFrom('7', '8', 'é "quoted"', 'A'),
    method: fc.constantFrom(...METHODS),
    confidence,
  })
  .map(({ source, id, ...composed }) => leg(source, id, composed));
const foundNothing = fc.constant(leg('bandcamp', null, { method: null, confidence: null }));
const provenance = fc.array(fc.oneof({ weight: 4, arbitrary: found }, foundNothing), { maxLength: 6 });

const tracks = fc.subarray(
  CREDITS.map(({ artist_name, track_title }, index) => ({
    artist_name,
    track_title,
    track_position: `A${index}`,
    resolved_artist_name: index === 1 ? null : 'Unnamed',
    confidence: 0.5 * index,
  })),
);

const resolved = (id: number): fc.Arbitrary<Fields> =>
  fc.record({ confidence, provenance }).map((composed) => singleArtist(id, composed));

const answer = fc.tuple(
  resolved(DILATE),
  resolved(ERASER),
  resolved(SANGOMA),
  provenance.map((named) => unresolved(NEW_AMERYKAH, { provenance: named })),
  tracks.map((visited) => compilation(VARIOUS, { tracks_attempted: true, tracks: visited })),
);

test('an answer that says the same in another way changes nothing, and writes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(answer, fc.array(fc.nat(), { minLength: 3, maxLength: 3 }), async (results, seeds) => {
      const call = {
        requested: [DILATE, ERASER, SANGOMA, NEW_AMERYKAH, VARIOUS],
        origin: SERVICE,
        verifiedAt: MONDAY,
      };
      const first = await writer.applyText(JSON.stringify({ results, tracks_contract_version: 1 }), call);
      expect(first.scanned).toBe(5);
      const before = await writer.everything();

      for (const seed of seeds) {
        const again = await writer.applyText(
          respelled({ results, tracks_contract_version: 1 }, choices(seed)),
          call,
        );
        expect(again).toMatchObject({
          rows_resolved: first.rows_resolved,
          rows_resolved_compilation: 1,
          rows_unresolved: 1,
          rows_skipped: first.rows_skipped,
          identity: { unchanged: first.rows_resolved },
          source: { inserted: 0, changed: 0, removed: 0 },
        });
        expect(await writer.everything()).toEqual(before);
      }
    }),
    { numRuns: 100 },
  );
});
