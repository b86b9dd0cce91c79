// LML adds sources and methods without a change here: they are written as they came, and counted.
import { describe, expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  leg,
  MONDAY,
  reported,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const discogs = leg('discogs', '11442');
const deezer = leg('deezer', '42', { confidence: 0.93 });
const STRICT = { strictBands: true };

describe('a source that is not known', () => {
  test('is written as it came, beside the others, and counted', async () => {
    const report = await writer.service([singleArtist(DILATE, { provenance: [discogs, deezer] })]);

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        identity: { inserted: 1 },
        source: { inserted: 2 },
        source_rows_unknown: 1,
        source_rows_out_of_band: 1,
      }),
    );
    expect(await writer.sources(DILATE)).toMatchObject({
      discogs: { external_id: '11442' },
      deezer: { external_id: '42', method: 'exact_match', confidence: 0.93 },
    });
  });

  test('costs ten good verdicts nothing', async () => {
    const report = await writer.service(
      [DILATE, SANGOMA].map((id) => singleArtist(id, { provenance: [deezer] })),
    );
    expect(report).toMatchObject({ rows_resolved: 2, source_rows_unknown: 2 });
    expect(await writer.quarantine()).toEqual([]);
    expect(await writer.attempts()).toEqual([]);
  });

  test('changes nothing the second time, and goes where a verdict no longer names it', async () => {
    const verdict = singleArtist(DILATE, { provenance: [discogs, deezer] });
    await writer.service([verdict]);
    expect(await writer.service([verdict], { verifiedAt: TUESDAY })).toMatchObject({
      identity: { unchanged: 1 },
      source: { inserted: 0, changed: 0, unchanged: 2, removed: 0 },
    });

    const report = await writer.service([singleArtist(DILATE, { provenance: [discogs] })], {
      verifiedAt: TUESDAY,
    });

    expect(report).toMatchObject({ source: { unchanged: 1, removed: 1 }, source_rows_unknown: 0 });
    expect(Object.keys(await writer.sources(DILATE))).toEqual(['discogs']);
    expect(await writer.superseded(DILATE)).toMatchObject([{ source: 'deezer', action: 'removed' }]);
  });

  test('named twice is written with its highest confidence, and two of them are two', async () => {
    const tidal = leg('tidal', '7');
    const better = leg('deezer', '43', { confidence: 0.99 });

    const report = await writer.service([
      singleArtist(DILATE, { provenance: [deezer, tidal, discogs, better] }),
    ]);

    expect(report).toMatchObject({
      source: { inserted: 3 },
      source_rows_skipped_duplicate: 1,
      source_rows_unknown: 2,
    });
    expect(await writer.sources(DILATE)).toMatchObject({
      deezer: { external_id: '43' },
      tidal: { external_id: '7' },
    });
  });

  test('that found nothing is skipped like any other', async () => {
    const fruitless = leg('deezer', null, { confidence: null, method: null });
    expect(await writer.service([singleArtist(DILATE, { provenance: [discogs, fruitless] })])).toMatchObject({
      rows_resolved: 1,
      source_rows_skipped_null_confidence: 1,
      source_rows_unknown: 0,
    });
  });

  test.each([
    ['a compilation', compilation(DILATE, { provenance: [deezer] }), { rows_skipped: { compilation: 1 } }],
    ['an unresolved row', unresolved(DILATE, { provenance: [deezer] }), { rows_unresolved: 1 }],
  ])('refuses no verdict on %s', async (_, verdict, counted) => {
    expect(await writer.service([verdict])).toEqual(reported(counted));
  });

  test('names an artist by itself', async () => {
    const verdict = singleArtist(DILATE, { main: {}, provenance: [deezer] });
    expect(await writer.service([verdict])).toMatchObject({ rows_resolved: 1 });
  });
});

describe('a method that is not known', () => {
  test('is written as it came and has no band', async () => {
    const acoustic = leg('discogs', '11442', { method: 'acoustic match', confidence: 0.01 });

    const report = await writer.service([
      singleArtist(DILATE, { provenance: [acoustic], method: 'acoustic match', confidence: 0.01 }),
    ]);

    expect(report).toMatchObject({ rows_resolved: 1, source_rows_unknown: 1, source_rows_out_of_band: 0 });
    expect(await writer.identity(DILATE)).toMatchObject({ method: 'acoustic match' });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { method: 'acoustic match' } });
  });

  test('may be that of a compilation', async () => {
    expect(await writer.service([compilation(DILATE, { method: 'by hearsay' })])).toEqual(
      reported({ rows_skipped: { compilation: 1 } }),
    );
  });
});

describe('with strict bands', () => {
  test.each([
    ['provenance[1].source', singleArtist(DILATE, { provenance: [discogs, deezer] })],
    [
      'provenance[0].method',
      singleArtist(DILATE, { provenance: [leg('discogs', '1', { method: 'acoustic' })] }),
    ],
    ['method', singleArtist(DILATE, { method: 'acoustic' })],
  ])('what is not known refuses its verdict: %s', async (path, verdict) => {
    const report = await writer.service([verdict], { ...STRICT, verifiedAt: MONDAY });
    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
    expect(await writer.quarantine()).toMatchObject([
      { path, reason: expect.stringMatching(/; allowed: .* \(strict bands\)$/) },
    ]);
  });
});
