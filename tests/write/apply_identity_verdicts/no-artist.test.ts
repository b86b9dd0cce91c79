// Verdicts that name no artist: unresolved, and a compilation whose tracks were not visited.
import { describe, expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  leg,
  MONDAY,
  reported,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
} from '../../support/writer.js';

const writer = useWriter();

const nothingFound = [leg('discogs', null, { method: null, confidence: null }), leg('spotify', 'ani')];

describe.each([
  {
    kind: 'unresolved',
    verdict: unresolved,
    counted: reported({ rows_unresolved: 1 }),
  },
  {
    kind: 'compilation',
    verdict: compilation,
    counted: reported({ rows_skipped: { compilation: 1 } }),
  },
])('a verdict $kind', ({ kind, verdict, counted }) => {
  test('writes nothing but its mark', async () => {
    const before = await writer.everything();

    const report = await writer.service([verdict(VARIOUS)]);

    expect(report).toEqual(counted);
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([{ library_id: VARIOUS, outcome: kind, attempted_at: MONDAY }]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('leaves an identity that is there as it is', async () => {
    await writer.service([singleArtist(DILATE)]);
    const before = await writer.everything();

    const report = await writer.service([verdict(DILATE)], { verifiedAt: TUESDAY });

    expect(report).toEqual(counted);
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([{ library_id: DILATE, outcome: kind, attempted_at: TUESDAY }]);
  });

  test('writes and counts none of the sources that it names', async () => {
    expect(await writer.service([verdict(DILATE, { provenance: nothingFound })])).toEqual(counted);
    expect(await writer.sources(DILATE)).toEqual({});
  });

  test('may come by hand', async () => {
    expect(await writer.repair([verdict(DILATE)])).toEqual(counted);
  });

  test('may lack the fields that it has no use for', async () => {
    const { library_id, provenance } = verdict(VARIOUS);
    expect(await writer.service([{ kind, library_id, provenance }])).toEqual(counted);
  });
});

test.each([
  ['a method', { method: 'exact_match' }],
  ['a confidence', { confidence: 1 }],
  ['both', { method: 'llm', confidence: 0.7 }],
])('a compilation may have %s', async (_, composed) => {
  expect(await writer.service([compilation(VARIOUS, composed)])).toEqual(
    reported({ rows_skipped: { compilation: 1 } }),
  );
});

test.each([
  ['an array', [compilation(VARIOUS, { tracks_attempted: true })]],
  ['a single result', compilation(VARIOUS, { tracks_attempted: true })],
])('a compilation in %s counts as not visited, since it has no version of tracks', async (_, response) => {
  const report = await writer.apply(response, { requested: [VARIOUS], origin: SERVICE });
  expect(report).toEqual(reported({ rows_skipped: { compilation: 1 } }));
});
