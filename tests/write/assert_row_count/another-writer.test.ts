// Another writer takes no lock of ours: what it leaves is looked at again, and neither side's columns are lost.
import { describe, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  leg,
  MONDAY,
  REPAIR,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const better = withMain(singleArtist(DILATE), { discogs_artist_id: 5 });

describe('another writer of the same row, who knows nothing of us,', () => {
  test('keeps the columns that are its own, and our history has them', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) =>
        sql`update wxyc_schema.library_identity set discogs_master_id = 7 where library_id = ${DILATE}`,
      [better],
    );

    expect(report).toMatchObject({ identity: { changed: 1 } });
    expect(await writer.identity(DILATE)).toMatchObject({ discogs_artist_id: 5, discogs_master_id: 7 });
    expect(await writer.history(DILATE)).toMatchObject([{ discogs_artist_id: 11442, discogs_master_id: 7 }]);
  });

  const byHand = { discogs_artist_id: 77, notes: REPAIR };

  test.each([
    ['another', [better]],
    ['another, beside others', [singleArtist(ERASER), better, singleArtist(SANGOMA)]],
    ['the same', [singleArtist(DILATE)]],
  ])('sets it by hand in time: it is held, although the verdict is %s', async (_, verdicts) => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) => sql`
        with source as (
          update wxyc_schema.library_identity_source set external_id = '77', notes = ${REPAIR}
          where library_id = ${DILATE} and source = 'discogs'
        )
        update wxyc_schema.library_identity set ${sql(byHand)} where library_id = ${DILATE}`,
      verdicts,
    );

    expect(await writer.identity(DILATE)).toMatchObject({ ...byHand, last_verified_at: MONDAY });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '77', notes: REPAIR } });
    expect(await writer.history(DILATE)).toEqual([]);
    expect(report).toMatchObject({ rows_skipped: { manual_precedence: 1 } });
  });

  test.each([
    ['alone', [singleArtist(DILATE)]],
    ['beside others', [singleArtist(ERASER), singleArtist(DILATE), singleArtist(SANGOMA)]],
  ])('inserts it by hand before we can: it is held, %s', async (_, verdicts) => {
    const row = { library_id: DILATE, method: 'manual', confidence: 1, last_verified_at: MONDAY, ...byHand };

    const report = await writer.meanwhile(
      (sql) => sql`insert into wxyc_schema.library_identity ${sql(row)}`,
      verdicts,
    );

    expect(report).toMatchObject({
      rows_resolved: verdicts.length - 1,
      rows_skipped: { manual_precedence: 1, writer_error: 0 },
    });
    expect(await writer.identity(DILATE)).toMatchObject(byHand);
    expect(await writer.quarantine()).toEqual([]);
  });

  test('inserts a source before we can: ours is a change of it', async () => {
    const row = { library_id: DILATE, source: 'discogs', external_id: '77', method: 'manual', confidence: 1 };

    const report = await writer.meanwhile(
      (sql) => sql`
        insert into wxyc_schema.library_identity_source ${sql({ ...row, last_verified_at: MONDAY })}`,
      [singleArtist(DILATE)],
    );

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 1, changed: 1 } }),
    );
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '11442', notes: SERVICE } });
    expect(await writer.superseded(DILATE)).toMatchObject([
      { source: 'discogs', action: 'changed', external_id: '77' },
    ]);
  });

  test('takes over a source that the verdict no longer names: it stays', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) => sql`
        update wxyc_schema.library_identity_source set notes = 'backfill'
        where library_id = ${DILATE} and source = 'spotify'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '11442')] })],
    );

    expect(report).toMatchObject({ source: { unchanged: 1, removed: 0 } });
    expect(await writer.sources(DILATE)).toMatchObject({ spotify: { notes: 'backfill' } });
    expect(await writer.superseded(DILATE)).toEqual([]);
  });

  test('changes a source that the verdict changes: what it left is kept', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) => sql`
        update wxyc_schema.library_identity_source set external_id = '77', notes = 'backfill'
        where library_id = ${DILATE} and source = 'discogs'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '5')] })],
    );

    expect(report).toMatchObject({ source: { changed: 1, removed: 1 } });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '5', notes: SERVICE } });
    expect(await writer.superseded(DILATE)).toContainEqual(
      expect.objectContaining({ source: 'discogs', external_id: '77', notes: 'backfill' }),
    );
  });

  test('deletes a source that the verdict changes: it is inserted again', async () => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) => sql`
        delete from wxyc_schema.library_identity_source where library_id = ${DILATE} and source = 'discogs'`,
      [singleArtist(DILATE, { provenance: [leg('discogs', '5')] })],
    );

    expect(report).toMatchObject({ source: { inserted: 1, changed: 0, removed: 1 } });
    expect(await writer.sources(DILATE)).toMatchObject({ discogs: { external_id: '5' } });
  });

  test.each([
    ['another', better],
    ['the same', singleArtist(DILATE)],
  ])('deletes it: the verdict, which is %s, is inserted again, whole', async (_, verdict) => {
    await writer.service([singleArtist(DILATE)]);

    const report = await writer.meanwhile(
      (sql) => sql`
        with source as (delete from wxyc_schema.library_identity_source where library_id = ${DILATE})
        delete from wxyc_schema.library_identity where library_id = ${DILATE}`,
      [verdict],
    );

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } }),
    );
    expect(await writer.identity(DILATE)).toMatchObject({ last_verified_at: TUESDAY });
    expect(Object.keys(await writer.sources(DILATE))).toHaveLength(2);
  });
});
