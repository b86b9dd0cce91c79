import { describe, expect, test } from 'vitest';
import {
  type Circumstances,
  DILATE,
  ERASER,
  MONDAY,
  REPAIR,
  reported,
  SERVICE,
  singleArtist,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const written = { rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } };

describe('an answer', () => {
  test.each([
    [
      'LML’s whole answer',
      { results: [singleArtist(DILATE)], cache_stats: null, tracks_contract_version: null },
    ],
    ['an answer that lacks what is optional', { results: [singleArtist(DILATE)] }],
    ['an array of results', [singleArtist(DILATE)]],
    ['a single result', singleArtist(DILATE)],
  ])('may be %s', async (_, response) => {
    const report = await writer.apply(response, { requested: [DILATE], origin: SERVICE });
    expect(report).toEqual(reported(written));
  });

  test.each([
    ['an empty array', []],
    ['an answer without results', { results: [] }],
  ])('may be %s', async (_, response) => {
    expect(await writer.apply(response)).toEqual(reported({}));
  });

  const NO_ANSWERS: [response: unknown][] = [
    [null],
    [7],
    ['results'],
    [true],
    [{}],
    [{ message: 'internal error' }],
    [{ detail: 'no such key', results: null }],
    [{ results: {} }],
    [{ results: 'none', library_id: DILATE, kind: 'unresolved' }],
  ];

  test.each(NO_ANSWERS)('is not: %j; every id that was asked counts as lml_error', async (response) => {
    const before = await writer.everything();

    const report = await writer.apply(response, { requested: [DILATE, ERASER], origin: SERVICE });

    expect(report).toEqual(reported({ rows_skipped: { lml_error: 2 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test.each(NO_ANSWERS)(
    'is not: %j; the operator who asked for nothing is told what is',
    async (response) => {
      await expect(writer.apply(response)).rejects.toMatchObject({
        code: 'LS003',
        message: 'the response is no answer of LML',
        detail: expect.stringMatching(/^It is .+\.$/),
        hint: 'Allowed: LML\'s whole answer ({"results": [...]}), an array of results, or one result.',
      });
    },
  );
});

describe('left out,', () => {
  test('the origin is a repair by the login, and the time is now', async () => {
    const [before] = await writer.sql`select clock_timestamp() as now, session_user as login`;

    await writer.apply([singleArtist(DILATE)]);

    const identity = await writer.identity(DILATE);
    expect(identity).toMatchObject({ notes: `repair:${before!.login}` });
    const age = (identity!.last_verified_at as Date).getTime() - before!.now.getTime();
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(60_000);
  });

  test('the origin of a batch that was asked is a repair, too', async () => {
    await writer.apply([singleArtist(DILATE)], { requested: [DILATE], origin: null });
    expect(await writer.identity(DILATE)).toMatchObject({ notes: expect.stringMatching(/^repair:./) });
  });

  test('bands are not strict', async () => {
    const verdict = singleArtist(DILATE, {
      provenance: [{ source: 'discogs', method: 'llm', confidence: 0.1, external_id: '1' }],
    });
    expect(await writer.apply([verdict])).toMatchObject({ rows_resolved: 1, source_rows_out_of_band: 1 });
  });
});

test.each([SERVICE, 'repair:', REPAIR, "repair:%s 'quoted' \\ 100 %"])(
  'the origin may be %s',
  async (origin) => {
    await writer.apply([singleArtist(DILATE)], { origin });
    expect(await writer.identity(DILATE)).toMatchObject({ notes: origin });
    expect((await writer.sources(DILATE)).discogs).toMatchObject({ notes: origin });
  },
);

const bad: [argument: string, circumstances: Circumstances, message: string, hint: string][] = [
  ...['', 'consumer', 'Consumer:lml-bulk', 'consumer:lml-bulk ', 'repair', ' repair:x'].map(
    (origin): [string, Circumstances, string, string] => [
      `origin ${JSON.stringify(origin)}`,
      { origin },
      `origin is '${origin}'`,
      'Allowed: consumer:lml-bulk for the service, a text that begins with repair: for a repair by hand, NULL for repair: and your login.',
    ],
  ),
  [
    'verified_at NULL',
    { verifiedAt: null },
    'verified_at is NULL',
    'Name the time at which LML gave the answer, or leave it out for now.',
  ],
  ...['infinity', '-infinity', '2999-12-31 23:59:59+00'].map(
    (verifiedAt): [string, Circumstances, string, string] => [
      `verified_at ${verifiedAt}`,
      { verifiedAt },
      `verified_at is ${verifiedAt}`,
      "Allowed: a time in the past, or at most one minute ahead of the database's clock.",
    ],
  ),
  ['strict_bands NULL', { strictBands: null }, 'strict_bands is NULL', 'Allowed: true, false.'],
];

test.each(bad)('%s is refused, and nothing is written', async (_, circumstances, message, hint) => {
  const before = await writer.everything();

  const application = writer.apply([singleArtist(DILATE)], {
    requested: [DILATE],
    origin: SERVICE,
    verifiedAt: MONDAY,
    ...circumstances,
  });

  await expect(application).rejects.toMatchObject({ code: 'LS001', message, hint });
  expect(await writer.everything()).toEqual(before);
  expect(await writer.sql`select from identity_sync.settlement`).toHaveLength(0);
});
