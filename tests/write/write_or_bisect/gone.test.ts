// A record may leave the library while its verdict waits: that is no refusal.
import { describe, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  reported,
  singleArtist,
  useWriter,
  VARIOUS,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

describe('a record that leaves the library meanwhile', () => {
  test.each([
    ['alone', []],
    ['beside others', [singleArtist(ERASER), singleArtist(VARIOUS)]],
  ])('counts as gone: %s', async (_, others) => {
    const report = await writer.meanwhile(
      (sql) => sql`delete from wxyc_schema.library where id = ${DILATE}`,
      [singleArtist(DILATE), ...others],
    );

    expect(report).toEqual(
      reported({
        rows_resolved: others.length,
        rows_skipped: { library_gone: 1 },
        identity: { inserted: others.length },
        source: { inserted: 2 * others.length },
      }),
    );
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test.each([
    ['another', withMain(singleArtist(DILATE), { discogs_artist_id: 5 })],
    ['the same', singleArtist(DILATE)],
    ['the same, of no source', singleArtist(DILATE, { provenance: [] })],
  ])('counts as gone with the identity that it had, where the verdict is %s', async (_, verdict) => {
    await writer.service([singleArtist(DILATE, { provenance: verdict.provenance })]);

    const report = await writer.meanwhile(
      (sql) => sql`
        with source as (delete from wxyc_schema.library_identity_source where library_id = ${DILATE}),
        identity as (delete from wxyc_schema.library_identity where library_id = ${DILATE})
        delete from wxyc_schema.library where id = ${DILATE}`,
      [verdict],
    );

    expect(report).toEqual(reported({ rows_skipped: { library_gone: 1 } }));
    expect(await writer.identity(DILATE)).toBeUndefined();
    expect(await writer.sources(DILATE)).toEqual({});
  });
});
