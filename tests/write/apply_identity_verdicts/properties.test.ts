// Anything that LML may send: valid verdicts with something else at random places.

import { expect, test } from 'vitest';
import fc from '../../support/fast-check.js';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  NOWHERE,
  SANGOMA,
  SERVICE,
  singleArtist,
  toText,
  unresolved,
  useWriter,
  VARIOUS,
  Verbatim,
} from '../../support/writer.js';

const writer = useWriter();

const SOURCES = ['discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'];
const METHODS = [
  ...['manual', 'cross_source_agreement', 'exact_match', 'name_variation'],
  ...['member_group', 'alias_match', 'trigram', 'llm'],
];

const libraryId = fc.constantFrom(DILATE, ERASER, SANGOMA, NEW_AMERYKAH, VARIOUS);
const method = fc.constantFrom(...METHODS);
const confidence = fc.oneof(
  fc.constantFrom(0, 0.6, 0.7, 0.75, 0.79, 0.8, 0.84, 0.89, 0.9, 0.95, 0.99, 1),
  fc.constantFrom(0.59999, 0.79001, 0.69999, 0.74999, 0.84001, 0.79999, 0.89001, 0.89999, 0.99001, 0.99999),
  fc.double({ min: 0, max: 1, noNaN: true }),
);
const found = fc
  .tuple(fc.constantFrom(...SOURCES), fc.string({ minLength: 1 }), fc.record({ method, confidence }))
  .map(([source, id, composed]) => leg(source, id, composed));
const foundNothing = fc
  .constantFrom(...SOURCES)
  .map((source) => leg(source, null, { method: null, confidence: null }));
const provenance = fc.array(fc.oneof({ weight: 3, arbitrary: found }, foundNothing), { maxLength: 4 });

const CREDITS = [
  { artist_name: 'Ani DiFranco', track_title: null },
  { artist_name: 'Thom Yorke', track_title: 'Analyse' },
];
const track = fc
  .tuple(
    fc.constantFrom(...CREDITS),
    fc.record({
      track_position: fc.constantFrom('A1', 'B2', null),
      resolved_artist_name: fc.constantFrom('Unnamed', 'Unknown', null),
      confidence,
      method,
      sources: provenance,
    }),
  )
  .map(([credit, matched]) => ({ ...credit, ...matched }));

const valid: fc.Arbitrary<Fields> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(libraryId, fc.record({ method, confidence, provenance }))
      .map(([id, composed]) => singleArtist(id, composed)),
  },
  fc
    .tuple(
      libraryId,
      fc.record({ provenance, tracks_attempted: fc.boolean(), tracks: fc.array(track, { maxLength: 3 }) }),
    )
    .map(([id, visited]) => compilation(id, visited)),
  fc.tuple(libraryId, provenance).map(([id, named]) => unresolved(id, { provenance: named })),
);

/** What may stand anywhere instead of what should: things that are right elsewhere, and things that are right nowhere. */
const somethingElse = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, '', 0, 1, -1, 0.5, 7.5, 1e300, 2 ** 31, true, false),
  fc.constantFrom<unknown>([], {}, [null], 'x'.repeat(513), NOWHERE, 'single_artist', 'unresolved'),
  fc.constantFrom<unknown>(...SOURCES, ...METHODS),
  fc.jsonValue({ maxDepth: 2 }),
);

/** Every place in a JSON value, as the container and the key in it. */
function places(value: unknown): [container: Fields, key: string][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[value as Fields, key], ...places(inner)]);
}

const verdict = fc
  .tuple(valid, fc.array(fc.tuple(fc.nat(), somethingElse), { maxLength: 2 }))
  .map(([fine, changes]) => {
    const changed = structuredClone(fine);
    for (const [at, value] of changes) {
      const choice = places(changed);
      const [container, key] = choice[at % choice.length]!;
      container[key] = structuredClone(value);
    }
    return changed;
  });

const answer = fc.record({
  verdicts: fc.array(verdict, { maxLength: 8 }),
  requested: fc.option(fc.array(fc.oneof(libraryId, fc.constant(NOWHERE)), { maxLength: 6 })),
  strictBands: fc.boolean(),
  tracks_contract_version: fc.constantFrom(1, 1, null, undefined, 7),
});

/** Whether a verdict is refused, and whether there are words for it; a library that is gone is no matter of the wire. */
async function judged(verdicts: unknown[], strictBands: boolean) {
  return await writer.sql<{ refused: boolean; explained: boolean; verdict: unknown }[]>`
    select
      (judged.verdicts)[1].outcome = 'invalid_verdict' as refused,
      (explained.refusal).reason is not null as explained,
      listed.verdict
    from jsonb_array_elements(${toText(verdicts)}::text::jsonb) as listed (verdict)
    cross join lateral (
      select identity_sync_private.judge_identity_verdicts(
        results => jsonb_build_array(listed.verdict),
        requested => null,
        strict_bands => ${strictBands},
        tracks_contract_version => null
      ) as verdicts
    ) as judged
    cross join lateral (
      select identity_sync_private.explain_refusal(listed.verdict, ${strictBands}) as refusal
    ) as explained
    where (judged.verdicts)[1].outcome <> 'library_gone'`;
}

test('a verdict is refused exactly where there is something to say against it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(verdict, { minLength: 1, maxLength: 40 }),
      fc.boolean(),
      async (verdicts, strict) => {
        for (const { refused, explained, verdict } of await judged(verdicts, strict)) {
          expect({ refused, verdict }).toEqual({ refused: explained, verdict });
        }
      },
    ),
    { numRuns: 200 },
  );
});

test.each<[string, Fields[]]>([
  [
    'just below a band, to the last digit',
    [leg('discogs', '1', { method: 'name_variation', confidence: new Verbatim('0.8999899999999999') })],
  ],
  [
    'just above a band, to the last digit',
    [leg('discogs', '1', { method: 'llm', confidence: new Verbatim('0.7900100000000001') })],
  ],
  [
    'of a source that is left out, since a better one is in its band',
    [leg('discogs', '1', { confidence: 0.5 }), leg('discogs', '2')],
  ],
])('this is so, too, with strict bands and a confidence %s', async (_, provenance) => {
  const [verdict] = await judged([singleArtist(DILATE, { provenance })], true);
  expect(verdict).toMatchObject({ explained: verdict!.refused });
});

/** Checks a report against what was asked and what came. */
function expectSum(scanned: number, requested: number[] | null, results: number) {
  const asked = new Set(requested).size;
  expect(scanned).toBeGreaterThanOrEqual(Math.max(asked, results));
  expect(scanned).toBeLessThanOrEqual(asked + results);
}

test('no answer that is JSON is an error, and a second time nothing changes', async () => {
  const { sql } = writer;
  const credits = CREDITS.map((credit) => ({ library_id: VARIOUS, ...credit }));
  await sql`insert into wxyc_schema.compilation_track_artist ${sql(credits)}`;
  await fc.assert(
    fc.asyncProperty(answer, async ({ verdicts, tracks_contract_version, ...circumstances }) => {
      const call = { origin: SERVICE, verifiedAt: MONDAY, ...circumstances };
      const response = { results: verdicts, tracks_contract_version };

      const first = await writer.apply(response, call);
      expectSum(first.scanned, circumstances.requested, verdicts.length);
      const before = await writer.everything();
      const second = await writer.apply(response, call);

      const { compilation_track: _, ...same } = first;
      expect(second).toMatchObject({
        ...same,
        identity: { inserted: 0, changed: 0, unchanged: first.rows_resolved },
        source: {
          inserted: 0,
          changed: 0,
          unchanged: first.source.inserted + first.source.changed + first.source.unchanged,
          removed: 0,
        },
        compilation_track: { written: 0, unlinked: 0, position_written: 0 },
      });
      expect(await writer.everything()).toEqual(before);
    }),
    { numRuns: 100 },
  );
});

/** Text as JavaScript has it, NULs and lone surrogates included, more often than not of these. */
const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom('\0', '\ud83c', '\udfb7', '\\', 'u0000', 'ud83c', '"', 'é'),
    fc.nat(0xffff).map((unit) => String.fromCharCode(unit)),
  ),
});

test('no text is an error, and none of its neighbours is lost to a string', async () => {
  const body = fc.record({
    verdicts: fc.array(verdict, { maxLength: 4 }),
    note: anyText,
    name: anyText,
    end: fc.option(fc.nat()),
  });
  await fc.assert(
    fc.asyncProperty(body, async ({ verdicts, note, name, end }) => {
      const results = [singleArtist(DILATE), { library_id: ERASER, note, [name]: note }, ...verdicts];
      const whole = JSON.stringify({ results, cache_stats: { [name]: note } });
      const text = end === null ? whole : whole.slice(0, end % whole.length);

      const report = await writer.applyText(text, {
        requested: [DILATE],
        origin: SERVICE,
        verifiedAt: MONDAY,
      });

      if (end === null) expect(report.rows_resolved).toBe(1);
      else expect(report.rows_skipped.lml_error).toBe(1);
    }),
    { numRuns: 150 },
  );
});
