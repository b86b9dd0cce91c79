// What a verdict may not overwrite: a row that somebody has set by hand, and a newer one.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  type Fields,
  MONDAY,
  NEW_AMERYKAH,
  REPAIR,
  reported,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  WEDNESDAY,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const better = withMain(singleArtist(DILATE), { discogs_artist_id: 5, wikidata_qid: 'Q232462' });

/** Has somebody set the identity of Dilate, with one source row. */
async function set(row: Fields) {
  const { sql } = writer;
  const identity = { method: 'exact_match', confidence: 0.4, last_verified_at: MONDAY, notes: null, ...row };
  await sql`
    insert into wxyc_schema.library_identity
    ${sql({ library_id: DILATE, discogs_artist_id: 77, ...identity })}`;
  await sql`
    insert into wxyc_schema.library_identity_source
    ${sql({ library_id: DILATE, source: 'discogs', external_id: '77', ...identity })}`;
}

describe('an identity set by hand', () => {
  test.each([
    { notes: 'repair:' },
    { notes: REPAIR },
    { notes: REPAIR, method: 'manual' },
    { notes: null, method: 'manual' },
    { notes: 'rotation', method: 'manual' },
    { notes: 'consumer:', method: 'manual' },
  ])('is not overwritten by the service: %o', async (row) => {
    await set(row);
    const before = await writer.everything();

    const report = await writer.service([better], { verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([
      { library_id: DILATE, outcome: 'manual_precedence', attempted_at: TUESDAY },
    ]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('is not even verified by a service that agrees with it', async () => {
    await writer.repair([better]);
    const before = await writer.everything();

    const report = await writer.service([better], { verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
    expect(await writer.everything()).toEqual(before);
  });

  test('is held, rather than too new, for an answer that is older', async () => {
    await set({ notes: REPAIR, last_verified_at: TUESDAY });
    expect(await writer.service([better])).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
  });

  test.each([
    { notes: null },
    { notes: 'rotation' },
    { notes: 'repaired' },
    { notes: ' repair:x' },
    { notes: 'Repair:x' },
    { notes: SERVICE },
    { notes: SERVICE, method: 'manual' },
  ])('is something else: %o', async (row) => {
    await set(row);

    const report = await writer.service([better], { verifiedAt: TUESDAY });

    expect(report).toMatchObject({ rows_resolved: 1, identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 5, notes: SERVICE });
  });

  test('is overwritten by a repair, which keeps what it was', async () => {
    await set({ notes: 'repair:somebody-else', method: 'manual' });

    const report = await writer.repair([better], { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { changed: 1 }, source: { inserted: 1, changed: 1 } }),
    );
    expect(await writer.identity(DILATE)).toMatchObject({
      discogs_artist_id: 5,
      notes: REPAIR,
      last_verified_at: TUESDAY,
    });
    expect(await writer.sources(DILATE)).toMatchObject({
      discogs: { notes: REPAIR },
      spotify: { notes: REPAIR },
    });
    expect(await writer.history(DILATE)).toMatchObject([
      {
        discogs_artist_id: 77,
        notes: 'repair:somebody-else',
        superseded_reason: expect.stringMatching(/^verdict of repair:music-director, settlement \d+$/),
        reason_category: 'repair',
      },
    ]);
  });

  test('does not hold up its neighbours', async () => {
    await set({ notes: REPAIR });
    const report = await writer.service([better, singleArtist(NEW_AMERYKAH), unresolved(VARIOUS)]);
    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        rows_unresolved: 1,
        rows_skipped: { manual_precedence: 1 },
        identity: { inserted: 1 },
        source: { inserted: 2 },
      }),
    );
  });
});

describe('an identity that is newer than the answer', () => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  });

  test.each([
    ['other', better],
    ['the same', singleArtist(DILATE)],
    ['unresolved', unresolved(DILATE)],
    ['a compilation', compilation(DILATE)],
  ])('stays as it is, and nothing is remembered: %s', async (_, verdict) => {
    const before = await writer.everything();

    const report = await writer.service([verdict], { verifiedAt: MONDAY });

    expect(report).toEqual(reported({ rows_skipped: { stale_verdict: 1 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('is so by a microsecond', async () => {
    const report = await writer.service([better], { verifiedAt: '2026-11-03T07:59:59.999999Z' });
    expect(report).toEqual(reported({ rows_skipped: { stale_verdict: 1 } }));
  });

  test('is not so where both are of one time', async () => {
    const report = await writer.service([better], { verifiedAt: TUESDAY });
    expect(report).toMatchObject({ rows_resolved: 1, identity: { changed: 1 } });
  });

  test('is overwritten by a repair, whose time it takes', async () => {
    const report = await writer.repair([better], { verifiedAt: MONDAY });

    expect(report).toMatchObject({ rows_resolved: 1, identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({
      discogs_artist_id: 5,
      last_verified_at: MONDAY,
      notes: REPAIR,
    });
    expect(await writer.history(DILATE)).toMatchObject([{ last_verified_at: TUESDAY, notes: SERVICE }]);
  });

  test.each([
    ['unresolved', unresolved(DILATE), reported({ rows_unresolved: 1 })],
    ['a compilation', compilation(DILATE), reported({ rows_skipped: { compilation: 1 } })],
  ])('is no reason to leave out a repair that says it is %s', async (_, verdict, counted) => {
    expect(await writer.repair([verdict], { verifiedAt: MONDAY })).toEqual(counted);
  });

  test('is held by a repair that agrees with it, whose time it takes', async () => {
    const report = await writer.repair([singleArtist(DILATE)], { verifiedAt: MONDAY });

    expect(report).toMatchObject({ rows_resolved: 1, identity: { changed: 1 }, source: { unchanged: 2 } });
    expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: MONDAY, notes: REPAIR });
    expect(await writer.history(DILATE)).toMatchObject([{ last_verified_at: TUESDAY, notes: SERVICE }]);
  });

  test('is verified again by a later answer', async () => {
    await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
    expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: WEDNESDAY });
  });
});
