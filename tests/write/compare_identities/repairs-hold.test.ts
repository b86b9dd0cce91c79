// A repair holds, also where the main row is right already: the service never takes back what a person has said.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  DILATE,
  leg,
  REPAIR,
  reported,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

/** LML's verdict with one source's id put right. */
const corrected = singleArtist(DILATE, {
  provenance: [leg('discogs', '11443'), ...(singleArtist(DILATE).provenance as unknown[]).slice(1)],
});

const nextNight = () => writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });

describe('over a row of the service, a repair', () => {
  beforeEach(() => writer.service([singleArtist(DILATE)]));

  test('that corrects nothing but a source’s id is there the next night', async () => {
    expect(await writer.repair([corrected], { verifiedAt: TUESDAY })).toEqual(
      reported({ rows_resolved: 1, identity: { changed: 1 }, source: { changed: 1, unchanged: 1 } }),
    );

    expect(await nextNight()).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));

    expect((await writer.sources(DILATE)).discogs).toMatchObject({ external_id: '11443', notes: REPAIR });
  });

  test('that says what is there is written, with the row as it was in history', async () => {
    expect(await writer.repair([singleArtist(DILATE)], { verifiedAt: TUESDAY })).toEqual(
      reported({ rows_resolved: 1, identity: { changed: 1 }, source: { unchanged: 2 } }),
    );

    expect(await writer.identity(DILATE)).toMatchObject({ notes: REPAIR, last_verified_at: TUESDAY });
    expect(await writer.history(DILATE)).toMatchObject([{ notes: SERVICE, reason_category: 'repair' }]);
    expect(await nextNight()).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
  });

  test('is compared once the row is set by hand: the same changes nothing and makes no history', async () => {
    await writer.repair([corrected], { verifiedAt: TUESDAY });
    const before = await writer.everything();

    expect(await writer.repair([corrected], { verifiedAt: TUESDAY })).toEqual(
      reported({ rows_resolved: 1, identity: { unchanged: 1 }, source: { unchanged: 2 } }),
    );

    expect(await writer.everything()).toEqual(before);
  });
});

test('over a row of an unknown writer a repair that says the same holds, too', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.sql`update wxyc_schema.library_identity set notes = null`;

  await writer.repair([singleArtist(DILATE)], { verifiedAt: TUESDAY });

  expect(await nextNight()).toEqual(reported({ rows_skipped: { manual_precedence: 1 } }));
});
