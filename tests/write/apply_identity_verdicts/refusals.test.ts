// Every way in which a verdict can break the wire contract. Each is refused whole, with the field, its value and what is
// allowed there, and costs no other verdict anything.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  reported,
  SERVICE,
  service,
  singleArtist,
  TUESDAY,
  toText,
  unresolved,
  useWriter,
  Verbatim,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const MISSING = undefined;

const METHODS =
  'manual, cross_source_agreement, exact_match, name_variation, member_group, alias_match, trigram, llm, or 1 to 64 printable characters';
const IDENTIFIER = 'a string of 1 to 512 characters, not blank, or null';
const SOURCES =
  'discogs, musicbrainz, wikidata, spotify, apple_music, bandcamp, or 1 to 64 printable characters';
const LONG = 'x'.repeat(513);
const HUGE = new Verbatim('1e400');

/** A copy of a verdict with the value at a path such as `provenance[1].source` replaced. */
function changed(verdict: Fields, path: string, value: unknown): Fields {
  const copy = structuredClone(verdict);
  const steps = path.split(/[.[\]]+/).filter(Boolean);
  const last = steps.pop()!;
  const parent = steps.reduce((node, step) => node[step] as Fields, copy);
  parent[last] = value;
  return copy;
}

/** How a refusal shows a value: as PostgreSQL writes it, and no more than 200 characters of it. */
function shown(value: unknown): { value: string | null; words: string } {
  if (value === MISSING) return { value: null, words: 'missing' };
  const text = value === HUGE ? `1${'0'.repeat(400)}` : toText(value);
  if (text.length <= 200) return { value: text, words: text };
  const cut = `${text.slice(0, 200)}…`;
  return { value: JSON.stringify(cut), words: cut };
}

/** A table of tests out of a table of fields: the path, the values that are refused there, and what is allowed. */
const cases = (table: [path: string, values: unknown[], allowed: string][]) =>
  table.flatMap(([path, values, allowed]) =>
    values.map((value) => [path, shown(value).words.slice(0, 40), value, allowed] as const),
  );

describe.each([
  {
    kind: 'single_artist',
    verdict: singleArtist(DILATE),
    refused: cases([
      [
        'kind',
        [MISSING, null, 'artist', 'Single_Artist', '', 7, true, [], ['single_artist'], {}],
        'single_artist, compilation, unresolved',
      ],
      ['main', [MISSING, null, [], 'Ani DiFranco', 7, true], 'an object'],
      [
        'main.discogs_artist_id',
        [0, -1, 7.5, 2147483648, HUGE, '11442', '', true, [], {}],
        'a positive integer or null',
      ],
      ['main.musicbrainz_artist_id', [7, true, [], {}, '', '   ', '\u2003\t', LONG], IDENTIFIER],
      ['main.wikidata_qid', [7, true, [], {}, '', '   ', '\u2003\t', LONG], IDENTIFIER],
      ['main.spotify_artist_id', [7, true, [], {}, '', '   ', '\u2003\t', LONG], IDENTIFIER],
      ['main.apple_music_artist_id', [7, true, [], {}, '', '   ', '\u2003\t', LONG], IDENTIFIER],
      ['main.bandcamp_id', [7, true, [], {}, '', '   ', '\u2003\t', LONG], IDENTIFIER],
      ['method', [MISSING, null, '\u202ehctam_tcaxe', '', 7, true, [], {}, LONG], METHODS],
      [
        'confidence',
        [MISSING, null, -0.01, 1.01, HUGE, '0.9', true, false, [], [0.5], {}],
        'a number from 0 to 1',
      ],
      ['provenance', [MISSING, null, {}, 'discogs', 7, true], 'an array'],
      ['provenance[1]', [null, 7, 'discogs', true, [], ['source']], 'an object'],
      ['provenance[1].source', [MISSING, null, 'x'.repeat(65), ' ', '', 7, true, [], {}, LONG], SOURCES],
      ['provenance[1].method', [MISSING, null, 'exact\nmatch', '', 7, true, [], {}], METHODS],
      [
        'provenance[1].confidence',
        [MISSING, null, -0.01, 1.01, HUGE, '0.9', true, false, [], [0.5], {}],
        'a number from 0 to 1, or null where external_id is null',
      ],
      [
        'provenance[1].external_id',
        [MISSING, null, '', ' ', '\u00a0', LONG, 7, true, [], {}],
        'a string of 1 to 512 characters, not blank, or null where confidence is null',
      ],
      ['tracks_attempted', ['true', 1, [], {}], 'true, false or null'],
      ['tracks', [{}, 'none', 7, true], 'an array or null'],
    ]),
  },
  {
    kind: 'compilation',
    verdict: compilation(DILATE, { provenance: [leg('discogs', '11442')] }),
    refused: cases([
      ['main', [{}, [], 'Various', 7, true], 'null, with kind compilation'],
      ['method', ['\u001b[2J', '', 7, true, [], {}], METHODS],
      ['confidence', [-0.01, 1.01, HUGE, '0.9', true, [], {}], 'a number from 0 to 1 or null'],
      ['provenance', [MISSING, null, {}, 'discogs', 7, true], 'an array'],
      ['provenance[0]', [null, 7, 'discogs', true, []], 'an object'],
      ['provenance[0].source', [MISSING, '\u200b'], SOURCES],
      ['tracks_attempted', ['true', 1, [], {}], 'true, false or null'],
      ['tracks', [{}, 'none', 7, true], 'an array or null'],
    ]),
  },
  {
    kind: 'unresolved',
    verdict: unresolved(DILATE, { provenance: [leg('discogs', null, { confidence: null, method: null })] }),
    refused: cases([
      ['main', [{}, [], 'nobody', 7, true], 'null, with kind unresolved'],
      ['method', ['exact_match', 'guess', '', 7, true, [], {}], 'null, with kind unresolved'],
      ['confidence', [-0.01, 1.01, HUGE, '0.9', true, [], {}], 'a number from 0 to 1 or null'],
      ['provenance', [MISSING, null, {}, 'discogs', 7, true], 'an array'],
      ['provenance[0].source', [MISSING, '\u200b'], SOURCES],
      ['provenance[0].method', ['\u001b[2J', '', 7, true, [], {}], METHODS],
      ['tracks_attempted', ['true', 1, [], {}], 'true, false or null'],
      ['tracks', [{}, 'none', 7, true], 'an array or null'],
    ]),
  },
])('a verdict $kind', ({ verdict, refused }) => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE)]);
  });

  test.each(refused)('is refused where %s is %s', async (path, _, value, allowed) => {
    const offending = changed(verdict, path, value);
    const before = await writer.everything();

    const report = await writer.service([offending], { verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'invalid_verdict', attempted_at: TUESDAY },
    ]);
    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      library_id: DILATE,
      outcome: 'invalid_verdict',
      path,
      value: shown(value).value,
      reason: `${path} is ${shown(value).words}; allowed: ${allowed}`,
      sqlstate: null,
      message: null,
      constraint_name: null,
      origin: SERVICE,
      verified_at: TUESDAY,
    });
    expect(JSON.parse(entry!.verdict as string)).toEqual(JSON.parse(toText(offending)));
  });

  // A session plans its first calls for the very values at hand, and may then compute what a condition was to prevent.
  test('is refused in the same words by the first plans of a session', async () => {
    const { sql } = await writer.session();
    await sql`set plan_cache_mode = force_custom_plan`;
    for (const [path, , value, allowed] of refused) {
      const report = await service(sql, [changed(verdict, path, value)], { verifiedAt: TUESDAY });

      expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
      expect(await writer.quarantine()).toMatchObject([
        { reason: `${path} is ${shown(value).words}; allowed: ${allowed}` },
      ]);
    }
  });
});

describe('of a source that found nothing', () => {
  test.each([['11442'], [''], [7], [false], [[]], [{}]])(
    'no external id is taken, such as %j',
    async (external_id) => {
      const provenance = [leg('discogs', external_id, { confidence: null })];

      const report = await writer.service([singleArtist(DILATE, { provenance })]);

      expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
      expect(await writer.quarantine()).toMatchObject([
        {
          path: 'provenance[0].confidence',
          value: 'null',
          reason:
            'provenance[0].confidence is null; allowed: a number from 0 to 1, or null where external_id is null',
        },
      ]);
    },
  );
});

describe('a result that names no library', () => {
  const neighbour = { rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } };
  const unnamed = { rows_skipped: { invalid_verdict: 1, lml_cardinality_mismatch: 1 } };

  const NO_IDS = [MISSING, null, '43076', '', 7.5, 2147483648, -2147483649, HUGE, true, [], {}].map(
    (library_id): [unknown] => [library_id],
  );

  test.each(NO_IDS)(
    'is refused, and its library counts as not answered: library_id %j',
    async (library_id) => {
      const offending = { ...singleArtist(ERASER), library_id };

      const report = await writer.service([offending, singleArtist(DILATE)], { requested: [ERASER, DILATE] });

      expect(report).toEqual(reported({ ...neighbour, ...unnamed }));
      const { value, words } = shown(library_id);
      expect(await writer.quarantine()).toMatchObject([
        {
          library_id: null,
          outcome: 'invalid_verdict',
          path: 'library_id',
          value,
          reason: `library_id is ${words}; allowed: an integer`,
        },
      ]);
      expect(await writer.attempts()).toEqual([]);
      expect(await writer.identity(ERASER)).toBeUndefined();
    },
  );

  test.each(NO_IDS)('is refused by the first plans of a session, too: library_id %j', async (library_id) => {
    const { sql } = await writer.session();
    const offending = { ...singleArtist(ERASER), library_id };
    const report = await service(sql, [offending], { requested: [] });
    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
  });

  test.each([
    [null],
    [7],
    ['single_artist'],
    ['unreadable'],
    [true],
    [[]],
    [[singleArtist(ERASER)]],
    [['unreadable']],
    [{}],
  ])('is refused where it is %j', async (offending) => {
    const report = await writer.apply([offending, singleArtist(DILATE)], {
      requested: [ERASER, DILATE],
      origin: SERVICE,
    });

    expect(report).toEqual(reported({ ...neighbour, ...unnamed }));
    const isObject = toText(offending) === '{}';
    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      library_id: null,
      outcome: 'invalid_verdict',
      path: isObject ? 'library_id' : '',
      reason: isObject
        ? 'library_id is missing; allowed: an integer'
        : expect.stringMatching(/^the verdict is .+; allowed: an object$/),
    });
    expect(JSON.parse(entry!.verdict as string)).toEqual(offending);
    expect(await writer.attempts()).toEqual([]);
  });
});

test('of several faults the first is named', async () => {
  const offending = singleArtist(DILATE, {
    confidence: 2,
    provenance: [leg('discogs', '11442'), leg('', '', { confidence: 'high' }), leg('spotify', 7)],
  });
  await writer.service([offending]);
  expect(await writer.quarantine()).toMatchObject([{ path: 'confidence' }]);

  await writer.service([{ ...offending, confidence: 1 }]);
  expect(await writer.quarantine()).toMatchObject([{ path: 'provenance[1].source' }]);
});

test('a verdict without a kind is refused for that, with anything else in it', async () => {
  const offending = singleArtist(DILATE, { kind: MISSING, unreadable: true, path: 7 });

  await writer.service([offending]);

  const [entry] = await writer.quarantine();
  expect(entry).toMatchObject({
    path: 'kind',
    value: null,
    reason: 'kind is missing; allowed: single_artist, compilation, unresolved',
  });
  expect(JSON.parse(entry!.verdict as string)).toEqual(JSON.parse(toText(offending)));
});

test('a string of 10 MB costs its verdict alone, and is shown shortened but kept whole', async () => {
  const wikidata_qid = 'Q'.repeat(10_000_000);

  const report = await writer.service([
    withMain(singleArtist(ERASER), { wikidata_qid }),
    singleArtist(DILATE),
  ]);

  expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
  const [entry] = await writer.quarantine();
  expect(entry).toMatchObject({
    path: 'main.wikidata_qid',
    value: JSON.stringify(`"${'Q'.repeat(199)}…`),
    reason: `main.wikidata_qid is "${'Q'.repeat(199)}…; allowed: ${IDENTIFIER}`,
  });
  expect(JSON.parse(entry!.verdict as string).main.wikidata_qid).toBe(wikidata_qid);
});

describe('what is unusual, but no breach:', () => {
  test.each([
    ['an id as a number with a point', singleArtist(DILATE, { library_id: new Verbatim(`${DILATE}.0`) }), {}],
    ['an id with an exponent', singleArtist(DILATE, { library_id: new Verbatim('18.114e3') }), {}],
    [
      'a Discogs id as a number with a point',
      withMain(singleArtist(DILATE), { discogs_artist_id: new Verbatim('7.0') }),
      { discogs_artist_id: 7 },
    ],
    [
      'the greatest Discogs id',
      withMain(singleArtist(DILATE), { discogs_artist_id: 2147483647 }),
      { discogs_artist_id: 2147483647 },
    ],
    [
      'an identifier of 512 characters, however many bytes they take',
      withMain(singleArtist(DILATE), { bandcamp_id: '🎷'.repeat(512) }),
      { bandcamp_id: '🎷'.repeat(512) },
    ],
    ['no confidence at all', singleArtist(DILATE, { confidence: 0 }), { confidence: 0 }],
    [
      'a confidence too small for its column',
      singleArtist(DILATE, { confidence: new Verbatim('1e-400') }),
      { confidence: 0 },
    ],
    [
      'a confidence with more digits than anybody needs',
      singleArtist(DILATE, { confidence: new Verbatim(`0.${'9'.repeat(400)}`) }),
      { confidence: 1 },
    ],
    ['tracks that were not requested', singleArtist(DILATE, { tracks_attempted: true, tracks: [7] }), {}],
  ])('%s', async (_, verdict, written) => {
    const report = await writer.service([verdict], { requested: [DILATE] });

    expect(report).toMatchObject({ scanned: 1, rows_resolved: 1 });
    expect(await writer.identity(DILATE)).toMatchObject(written);
    expect(await writer.quarantine()).toEqual([]);
  });
});

test('a source may be known by 512 characters, however many bytes they take, and by no more', async () => {
  const known = (characters: number) =>
    singleArtist(DILATE, { provenance: [leg('bandcamp', '🎷'.repeat(characters))] });

  expect(await writer.service([known(513)])).toMatchObject({ rows_skipped: { invalid_verdict: 1 } });
  expect(await writer.service([known(512)])).toMatchObject({ rows_resolved: 1 });
  expect(await writer.sources(DILATE)).toMatchObject({ bandcamp: { external_id: '🎷'.repeat(512) } });
});

describe('with strict bands', () => {
  const strictly = { strictBands: true };
  // The first source is in its band by the tolerance alone.
  const byMethod = (method: string, confidence: unknown) =>
    singleArtist(DILATE, {
      provenance: [
        leg('discogs', '11442', { confidence: 0.99999 }),
        leg('spotify', 'ani', { method, confidence }),
      ],
    });

  test.each([
    ['manual', 0.999989, '1.00 to 1.00'],
    ['exact_match', 0.999989, '1.00 to 1.00'],
    ['name_variation', 0.899989, '0.90 to 0.99'],
    ['name_variation', 0.990011, '0.90 to 0.99'],
    ['member_group', 0.799989, '0.80 to 0.89'],
    ['member_group', 0.890011, '0.80 to 0.89'],
    ['alias_match', 0.749989, '0.75 to 0.84'],
    ['alias_match', 0.840011, '0.75 to 0.84'],
    ['trigram', 0.699989, '0.70 to 1.00'],
    ['llm', 0.599989, '0.60 to 0.79'],
    ['llm', 0.790011, '0.60 to 0.79'],
  ])('a source by %s with %d refuses its verdict', async (method, confidence, band) => {
    const before = await writer.everything();

    const report = await writer.service([byMethod(method, confidence)], strictly);

    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.quarantine()).toMatchObject([
      {
        library_id: DILATE,
        path: 'provenance[1].confidence',
        value: String(confidence),
        reason: `provenance[1].confidence is ${confidence}; allowed: ${band} for method ${method} (strict bands)`,
        verified_at: MONDAY,
      },
    ]);
    expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'invalid_verdict' }]);
  });

  test.each([
    ['manual', 0.99999],
    ['cross_source_agreement', 0],
    ['exact_match', 0.99999],
    ['name_variation', 0.89999],
    ['name_variation', 0.99001],
    ['member_group', 0.79999],
    ['member_group', 0.89001],
    ['alias_match', 0.74999],
    ['alias_match', 0.84001],
    ['trigram', 0.69999],
    ['trigram', 1],
    ['llm', 0.59999],
    ['llm', 0.79001],
  ])('a source by %s with %d is fine', async (method, confidence) => {
    const report = await writer.service([byMethod(method, confidence)], strictly);
    expect(report).toMatchObject({ rows_resolved: 1, source_rows_out_of_band: 0 });
  });

  test('a source that found nothing has no band', async () => {
    const nothingFound = leg('spotify', null, { method: 'llm', confidence: null });
    const verdict = singleArtist(DILATE, { provenance: [nothingFound] });
    expect(await writer.service([verdict], strictly)).toMatchObject({ rows_resolved: 1 });
  });

  test('the composed confidence has no band', async () => {
    const composed = { method: 'exact_match', confidence: 0.5 };
    expect(await writer.service([singleArtist(DILATE, composed)], strictly)).toMatchObject({
      rows_resolved: 1,
    });
  });

  test('what names no artist has no band', async () => {
    const provenance = [leg('discogs', '11442', { confidence: 0.1 })];
    const verdicts = [compilation(DILATE, { provenance }), unresolved(ERASER, { provenance })];
    expect(await writer.service(verdicts, strictly)).toEqual(
      reported({ rows_unresolved: 1, rows_skipped: { compilation: 1 } }),
    );
  });
});

describe('a single artist who is named by nothing', () => {
  const nobody = withMain(singleArtist(DILATE), { discogs_artist_id: null, spotify_artist_id: null });

  test.each([
    ['no source', []],
    [
      'sources that found nothing',
      [leg('discogs', null, { confidence: null }), leg('spotify', null, { confidence: null })],
    ],
  ])('is refused, with %s', async (_, provenance) => {
    const report = await writer.service([{ ...nobody, provenance, confidence: 1 }]);

    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
    expect(await writer.identity(DILATE)).toBeUndefined();
    expect(await writer.quarantine()).toMatchObject([
      {
        path: 'main',
        reason: expect.stringMatching(
          /^main is \{.*\}; allowed: an object with one id or more, where no source has an external_id$/,
        ),
      },
    ]);
  });

  test('is one where a source names it', async () => {
    expect(await writer.service([{ ...nobody, provenance: [leg('discogs', '11442')] }])).toMatchObject({
      rows_resolved: 1,
    });
  });

  test.each([
    { discogs_artist_id: 1 },
    { musicbrainz_artist_id: 'm' },
    { wikidata_qid: 'Q1' },
    { spotify_artist_id: 's' },
    { apple_music_artist_id: '1' },
    { bandcamp_id: 'b' },
  ])('is one where the main row names it: %o', async (id) => {
    expect(await writer.service([{ ...withMain(nobody, id), provenance: [] }])).toMatchObject({
      rows_resolved: 1,
    });
  });
});
