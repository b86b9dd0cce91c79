// The ids that were requested, and those that LML names: only what was requested is written, and all of it is counted.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  NEW_AMERYKAH,
  NOWHERE,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  Verbatim,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const written = { rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } };

describe('a result for an id that was not asked', () => {
  test.each([
    ['as good as any', singleArtist(ERASER)],
    ['unresolved', unresolved(ERASER)],
    ['a compilation', compilation(ERASER)],
    ['invalid besides', singleArtist(ERASER, { kind: 'artist' })],
    ['of no record of the library', singleArtist(NOWHERE)],
    ['of a negative id', singleArtist(-1)],
  ])('is not written but quarantined: %s', async (_, foreign) => {
    const report = await writer.service([singleArtist(DILATE), foreign], { requested: [DILATE] });

    expect(report).toEqual(reported({ ...written, rows_skipped: { lml_untrusted_library_id: 1 } }));
    expect(await writer.identity(ERASER)).toBeUndefined();
    expect(await writer.attempts()).toEqual([]);
    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      library_id: foreign.library_id,
      outcome: 'lml_untrusted_library_id',
      path: 'library_id',
      value: String(foreign.library_id),
      reason: `library_id ${foreign.library_id} was not asked, or is named for the second time`,
      origin: SERVICE,
      verified_at: MONDAY,
    });
    expect(JSON.parse(entry!.verdict as string)).toEqual(foreign);
  });

  test('leaves the identity of that record alone', async () => {
    await writer.service([singleArtist(ERASER)]);
    const before = await writer.everything();
    const foreign = withMain(singleArtist(ERASER), { discogs_artist_id: 5 });

    const report = await writer.service([foreign], { requested: [], verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { lml_untrusted_library_id: 1 } }));
    expect(await writer.everything()).toEqual(before);
  });

  test('does not hide that an asked one is missing', async () => {
    const report = await writer.service([singleArtist(DILATE), singleArtist(ERASER)], {
      requested: [DILATE, SANGOMA],
    });
    expect(report).toEqual(
      reported({ ...written, rows_skipped: { lml_untrusted_library_id: 1, lml_cardinality_mismatch: 1 } }),
    );
  });
});

describe('a second result for one id', () => {
  const first = singleArtist(DILATE);
  const second = withMain(first, { discogs_artist_id: 5 });

  test('is not written but quarantined, and the first one stands', async () => {
    const report = await writer.service([first, second]);

    expect(report).toEqual(reported({ ...written, rows_skipped: { lml_untrusted_library_id: 1 } }));
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 11442 });
    expect(await writer.history(DILATE)).toEqual([]);
    const [entry, ...others] = await writer.quarantine();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      library_id: DILATE,
      outcome: 'lml_untrusted_library_id',
      path: 'library_id',
    });
    expect(JSON.parse(entry!.verdict as string)).toEqual(second);
  });

  test.each([
    ['unresolved', unresolved(DILATE), { rows_unresolved: 1 }, {}],
    ['a compilation', compilation(DILATE), {}, { compilation: 1 }],
    ['invalid', singleArtist(DILATE, { confidence: 2 }), {}, { invalid_verdict: 1 }],
  ])('does not stand in for a first one that is %s', async (_, other, counted, skipped) => {
    const report = await writer.service([other, second]);

    expect(report).toEqual(
      reported({ ...counted, rows_skipped: { ...skipped, lml_untrusted_library_id: 1 } }),
    );
    expect(await writer.identity(DILATE)).toBeUndefined();
  });

  test('is recognised in every spelling of the id', async () => {
    const spelled = { ...second, library_id: new Verbatim(`${DILATE}.0`) };
    const report = await writer.service([first, spelled], { requested: [DILATE] });
    expect(report).toEqual(reported({ ...written, rows_skipped: { lml_untrusted_library_id: 1 } }));
  });

  test('is no better by hand', async () => {
    const report = await writer.repair([first, second]);
    expect(report).toEqual(reported({ ...written, rows_skipped: { lml_untrusted_library_id: 1 } }));
  });

  test('may be followed by a third', async () => {
    const report = await writer.service([first, second, second, singleArtist(SANGOMA)]);
    expect(report).toMatchObject({
      scanned: 4,
      rows_resolved: 2,
      rows_skipped: { lml_untrusted_library_id: 2 },
    });
    expect(await writer.quarantine()).toHaveLength(1);
  });
});

describe('an id that was asked', () => {
  test('and that no result names is counted, and nothing is known about it', async () => {
    const before = await writer.everything();

    const report = await writer.service([], { requested: [DILATE, ERASER] });

    expect(report).toEqual(reported({ rows_skipped: { lml_cardinality_mismatch: 2 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('twice, or as NULL, is asked once', async () => {
    const report = await writer.service([singleArtist(DILATE)], {
      requested: [DILATE, null, ERASER, DILATE, ERASER, null],
    });
    expect(report).toEqual(reported({ ...written, rows_skipped: { lml_cardinality_mismatch: 1 } }));
  });

  test('is found in any order of the results', async () => {
    const ids = [SANGOMA, DILATE, NEW_AMERYKAH, ERASER];
    const report = await writer.service(
      ids.map((id) => singleArtist(id)),
      { requested: [...ids].sort() },
    );
    expect(report).toMatchObject({ scanned: 4, rows_resolved: 4 });
    for (const id of ids) {
      expect(await writer.identity(id)).toMatchObject({
        discogs_artist_id: (singleArtist(id).main as Fields).discogs_artist_id,
      });
    }
  });
});

test('a repair trusts every id that is in the library', async () => {
  const report = await writer.repair([singleArtist(DILATE), singleArtist(NOWHERE), unresolved(ERASER)]);
  expect(report).toEqual(reported({ ...written, rows_unresolved: 1, rows_skipped: { library_gone: 1 } }));
});

describe('a record that has left the library', () => {
  beforeEach(async () => {
    await writer.sql`delete from wxyc_schema.library where id = ${ERASER}`;
  });

  test.each([
    ['was resolved', singleArtist(ERASER)],
    ['was not resolved', unresolved(ERASER)],
    ['is a compilation', compilation(ERASER)],
    ['is spoken of in an invalid verdict', singleArtist(ERASER, { method: '' })],
  ])('counts as gone where it %s', async (_, verdict) => {
    const report = await writer.service([verdict, singleArtist(DILATE)]);

    expect(report).toEqual(reported({ ...written, rows_skipped: { library_gone: 1 } }));
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('counts as gone where LML did not answer for it either', async () => {
    const report = await writer.service([singleArtist(DILATE)], { requested: [ERASER, DILATE] });
    expect(report).toEqual(reported({ ...written, rows_skipped: { library_gone: 1 } }));
  });
});
