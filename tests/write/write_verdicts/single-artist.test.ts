import { beforeEach, describe, expect, test } from 'vitest';
import {
  DILATE,
  type Fields,
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

const DILATE_ON_MONDAY = {
  library_id: DILATE,
  discogs_master_id: null,
  discogs_release_id: null,
  musicbrainz_release_group_mbid: null,
  musicbrainz_release_mbid: null,
  musicbrainz_recording_mbid: null,
  wikidata_qid: null,
  spotify_id: '0AiTwNtYX8m4uhfU7rJ8RD',
  apple_music_id: null,
  last_verified_at: MONDAY,
  method: 'cross_source_agreement',
  confidence: 0.97,
  agreement_sources: null,
  notes: SERVICE,
  discogs_artist_id: 11442,
  musicbrainz_artist_id: null,
  bandcamp_id: null,
};

const FROM_DISCOGS = {
  external_id: '11442',
  method: 'exact_match',
  confidence: 1,
  last_verified_at: MONDAY,
  boost_sources: null,
  notes: SERVICE,
};

const FROM_SPOTIFY = {
  ...FROM_DISCOGS,
  external_id: '0AiTwNtYX8m4uhfU7rJ8RD',
  method: 'name_variation',
  confidence: 0.95,
};

/** The verdict on Dilate with other sources. */
const namedBy = (...provenance: Fields[]) => singleArtist(DILATE, { provenance });

describe('a record without an identity', () => {
  test('gets its main row and its source rows', async () => {
    const report = await writer.service([singleArtist(DILATE)]);

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } }),
    );
    expect(await writer.identity(DILATE)).toEqual(DILATE_ON_MONDAY);
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS, spotify: FROM_SPOTIFY });
    expect(await writer.history(DILATE)).toEqual([]);
    expect(await writer.superseded(DILATE)).toEqual([]);
  });

  test('gets each id in the column of its catalogue', async () => {
    const everywhere = {
      discogs_artist_id: 11442,
      musicbrainz_artist_id: 'a7bdc71f-697a-45d9-92b2-a01fbbe50272',
      wikidata_qid: 'Q232462',
      spotify_artist_id: '0AiTwNtYX8m4uhfU7rJ8RD',
      apple_music_artist_id: '3627568',
      bandcamp_id: 'anidifranco',
    };

    await writer.service([singleArtist(DILATE, { main: everywhere })]);

    const { spotify_artist_id, apple_music_artist_id, ...namedAlike } = everywhere;
    expect(await writer.identity(DILATE)).toMatchObject({
      ...namedAlike,
      spotify_id: spotify_artist_id,
      apple_music_id: apple_music_artist_id,
    });
  });

  test.each([
    'manual',
    'cross_source_agreement',
    'exact_match',
    'name_variation',
    'member_group',
    'alias_match',
    'trigram',
    'llm',
  ])('may be known by the method %s', async (method) => {
    await writer.service([singleArtist(DILATE, { method })]);
    expect(await writer.identity(DILATE)).toMatchObject({ method });
  });

  test.each(['discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'])(
    'may be known to the source %s',
    async (source) => {
      await writer.service([namedBy(leg(source, 'ani'))]);
      expect(await writer.sources(DILATE)).toEqual({ [source]: { ...FROM_DISCOGS, external_id: 'ani' } });
    },
  );

  test('needs no source to be known', async () => {
    const report = await writer.service([namedBy()]);

    expect(report).toEqual(reported({ rows_resolved: 1, identity: { inserted: 1 } }));
    expect(await writer.identity(DILATE)).toEqual(DILATE_ON_MONDAY);
    expect(await writer.sources(DILATE)).toEqual({});
  });

  test('does not mind fields that the contract does not know', async () => {
    const verdict = withMain(singleArtist(DILATE, { moderator: 'nobody' }), { tidal_id: [1] });
    const provenance = [leg('discogs', '11442', { seen: null })];

    expect(await writer.service([{ ...verdict, provenance }])).toMatchObject({ rows_resolved: 1 });
    expect(await writer.identity(DILATE)).toEqual(DILATE_ON_MONDAY);
  });

  test('does not mind optional fields that are missing', async () => {
    const main = { discogs_artist_id: 11442, spotify_artist_id: '0AiTwNtYX8m4uhfU7rJ8RD' };
    const verdict = singleArtist(DILATE, { main, tracks_attempted: undefined, tracks: undefined });

    await writer.service([verdict]);

    expect(await writer.identity(DILATE)).toEqual(DILATE_ON_MONDAY);
  });
});

describe('a record with an identity of ours', () => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE)]);
  });

  test('keeps everything but the time of its main row where the verdict is the same', async () => {
    const report = await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { unchanged: 1 }, source: { unchanged: 2 } }),
    );
    expect(await writer.identity(DILATE)).toEqual({ ...DILATE_ON_MONDAY, last_verified_at: TUESDAY });
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS, spotify: FROM_SPOTIFY });
    expect(await writer.history(DILATE)).toEqual([]);
    expect(await writer.superseded(DILATE)).toEqual([]);
  });

  test.each([
    ['its Discogs id', { discogs_artist_id: 5 }, { discogs_artist_id: 5 }],
    ['its MusicBrainz id', { musicbrainz_artist_id: 'a7bdc71f' }, { musicbrainz_artist_id: 'a7bdc71f' }],
    ['its Wikidata id', { wikidata_qid: 'Q232462' }, { wikidata_qid: 'Q232462' }],
    ['its Spotify id', { spotify_artist_id: null }, { spotify_id: null }],
    ['its Apple Music id', { apple_music_artist_id: '3627568' }, { apple_music_id: '3627568' }],
    ['its Bandcamp id', { bandcamp_id: 'anidifranco' }, { bandcamp_id: 'anidifranco' }],
  ])('changes where the verdict changes %s, and its history keeps what it was', async (_, main, columns) => {
    const report = await writer.service([withMain(singleArtist(DILATE), main)], { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { changed: 1 }, source: { unchanged: 2 } }),
    );
    const changed = { ...DILATE_ON_MONDAY, ...columns, last_verified_at: TUESDAY };
    expect(await writer.identity(DILATE)).toEqual(changed);
    expect(await writer.history(DILATE)).toEqual([
      {
        ...DILATE_ON_MONDAY,
        superseded_reason: expect.stringMatching(/^verdict of consumer:lml-bulk, settlement \d+$/),
        reason_category: 'verdict',
      },
    ]);
  });

  test.each([
    ['method', { method: 'exact_match' }],
    ['confidence', { confidence: 0.98 }],
  ])('changes where the verdict changes its composed %s', async (_, composed) => {
    await writer.service([singleArtist(DILATE, composed)], { verifiedAt: TUESDAY });

    expect(await writer.identity(DILATE)).toEqual({
      ...DILATE_ON_MONDAY,
      ...composed,
      last_verified_at: TUESDAY,
    });
    expect(await writer.history(DILATE)).toMatchObject([DILATE_ON_MONDAY]);
  });

  test.each([
    ['id', { external_id: '11443' }],
    ['method', { method: 'manual' }],
    ['confidence', { confidence: 0.999995 }],
  ])(
    'has one source row changed where the verdict changes its %s, and the row as it was kept',
    async (_, change) => {
      const changed = { ...FROM_DISCOGS, ...change };
      const report = await writer.service(
        [namedBy(leg('discogs', '11442', change), leg('spotify', FROM_SPOTIFY.external_id, FROM_SPOTIFY))],
        { verifiedAt: TUESDAY },
      );

      expect(report).toEqual(
        reported({ rows_resolved: 1, identity: { unchanged: 1 }, source: { changed: 1, unchanged: 1 } }),
      );
      expect(await writer.sources(DILATE)).toEqual({
        discogs: { ...changed, last_verified_at: TUESDAY },
        spotify: FROM_SPOTIFY,
      });
      expect(await writer.superseded(DILATE)).toEqual([
        {
          library_id: DILATE,
          source: 'discogs',
          action: 'changed',
          ...FROM_DISCOGS,
          superseded_reason: expect.stringMatching(/^verdict of consumer:lml-bulk, settlement \d+$/),
        },
      ]);
      expect(await writer.history(DILATE)).toEqual([]);
    },
  );

  test('loses a source that the verdict no longer names, and the row as it was is kept', async () => {
    const report = await writer.service([namedBy(leg('discogs', '11442'))], { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({ rows_resolved: 1, identity: { unchanged: 1 }, source: { unchanged: 1, removed: 1 } }),
    );
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS });
    expect(await writer.superseded(DILATE)).toMatchObject([
      { source: 'spotify', action: 'removed', ...FROM_SPOTIFY },
    ]);
  });

  test('loses a source that the verdict names with a null confidence', async () => {
    const nothingFound = leg('spotify', null, { confidence: null });
    const report = await writer.service([namedBy(leg('discogs', '11442'), nothingFound)]);

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        source_rows_skipped_null_confidence: 1,
        identity: { unchanged: 1 },
        source: { unchanged: 1, removed: 1 },
      }),
    );
    expect(Object.keys(await writer.sources(DILATE))).toEqual(['discogs']);
  });

  test('loses its every source where the verdict names none', async () => {
    expect(await writer.service([namedBy()])).toMatchObject({ source: { removed: 2 } });
    expect(await writer.sources(DILATE)).toEqual({});
  });

  test('gains a source that the verdict names for the first time, and that it was added is kept', async () => {
    const verdict = singleArtist(DILATE);
    const provenance = [...(verdict.provenance as Fields[]), leg('wikidata', 'Q232462')];
    const report = await writer.service([{ ...verdict, provenance }], { verifiedAt: TUESDAY });

    expect(report).toMatchObject({ source: { inserted: 1, unchanged: 2 } });
    expect(await writer.sources(DILATE)).toEqual({
      discogs: FROM_DISCOGS,
      spotify: FROM_SPOTIFY,
      wikidata: { ...FROM_DISCOGS, external_id: 'Q232462', last_verified_at: TUESDAY },
    });
    expect(await writer.superseded(DILATE)).toMatchObject([
      { source: 'wikidata', action: 'inserted', external_id: null, confidence: null },
    ]);
  });

  test('changes in its main row and all of its source rows at once', async () => {
    const verdict = {
      ...withMain(singleArtist(DILATE), { spotify_artist_id: null }),
      provenance: [leg('discogs', '11443'), leg('bandcamp', 'anidifranco')],
    };
    const report = await writer.service([verdict], { verifiedAt: TUESDAY });

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        identity: { changed: 1 },
        source: { inserted: 1, changed: 1, removed: 1 },
      }),
    );
    expect(await writer.superseded(DILATE)).toMatchObject([
      { source: 'discogs', action: 'changed' },
      { source: 'spotify', action: 'removed' },
      { source: 'bandcamp', action: 'inserted' },
    ]);
  });

  test('is no other for a confidence that has more digits than its column holds', async () => {
    const asFloat8 = { confidence: 0.9700000286102295 };
    const report = await writer.service([singleArtist(DILATE, asFloat8)], { verifiedAt: TUESDAY });
    expect(report).toMatchObject({ identity: { unchanged: 1 }, source: { unchanged: 2 } });
  });

  test('is no other for notes alone', async () => {
    await writer.sql`update wxyc_schema.library_identity set notes = 'backfill' where library_id = ${DILATE}`;

    const report = await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect(report).toMatchObject({ identity: { unchanged: 1 }, source: { unchanged: 2 } });
    expect(await writer.identity(DILATE)).toEqual({
      ...DILATE_ON_MONDAY,
      last_verified_at: TUESDAY,
      notes: 'backfill',
    });
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS, spotify: FROM_SPOTIFY });
  });

  test('leaves its neighbours in the same answer to themselves', async () => {
    const report = await writer.service(
      [singleArtist(SANGOMA), withMain(singleArtist(DILATE), { wikidata_qid: 'Q232462' })],
      { verifiedAt: TUESDAY },
    );

    expect(report).toEqual(
      reported({
        rows_resolved: 2,
        identity: { inserted: 1, changed: 1 },
        source: { inserted: 2, unchanged: 2 },
      }),
    );
    expect(await writer.superseded(SANGOMA)).toEqual([]);
    expect(await writer.history(SANGOMA)).toEqual([]);
  });
});

describe('what other writers own', () => {
  const RELEASE = {
    discogs_master_id: 7,
    discogs_release_id: 8,
    musicbrainz_release_group_mbid: 'f32fab67-77dd-3937-addc-9062e28e4c37',
    musicbrainz_release_mbid: '1e477f68-c407-4eae-ad01-518528cedc2c',
    musicbrainz_recording_mbid: 'fcbcdc39-8851-4efc-a02a-ab0e13be224f',
    agreement_sources: 'discogs,spotify',
  };

  test('stays as it is in the main row, and is kept in its history', async () => {
    const { sql } = writer;
    await writer.service([singleArtist(DILATE)]);
    await sql`update wxyc_schema.library_identity set ${sql(RELEASE)} where library_id = ${DILATE}`;

    await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id: 5 })], { verifiedAt: TUESDAY });

    expect(await writer.identity(DILATE)).toEqual({
      ...DILATE_ON_MONDAY,
      ...RELEASE,
      discogs_artist_id: 5,
      last_verified_at: TUESDAY,
    });
    expect(await writer.history(DILATE)).toMatchObject([{ ...DILATE_ON_MONDAY, ...RELEASE }]);
  });

  test('is filled up to an identity where it was alone', async () => {
    const { sql } = writer;
    const row = { library_id: DILATE, method: 'exact_match', confidence: 0.5, last_verified_at: MONDAY };
    await sql`insert into wxyc_schema.library_identity ${sql({ ...row, ...RELEASE, notes: 'rotation' })}`;

    const report = await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect(report).toMatchObject({ identity: { changed: 1 }, source: { inserted: 2 } });
    expect(await writer.identity(DILATE)).toEqual({
      ...DILATE_ON_MONDAY,
      ...RELEASE,
      last_verified_at: TUESDAY,
    });
    expect(await writer.history(DILATE)).toMatchObject([{ ...row, ...RELEASE, notes: 'rotation' }]);
  });

  /** Has somebody write a source row of Dilate. */
  async function written(source: string, notes: string | null) {
    const row = { ...FROM_DISCOGS, external_id: 'theirs', boost_sources: 'discogs', notes };
    const { sql } = writer;
    await sql`
      insert into wxyc_schema.library_identity_source ${sql({ library_id: DILATE, source, ...row })}`;
    return row;
  }

  test.each([null, 'backfill', 'consumer:lml', 'repaired', ' repair:x'])(
    'stays: a source row with the notes %j that the verdict does not name',
    async (notes) => {
      const theirs = await written('bandcamp', notes);

      const report = await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

      expect(report).toMatchObject({ source: { inserted: 2, removed: 0 } });
      expect((await writer.sources(DILATE)).bandcamp).toEqual(theirs);
    },
  );

  test('stays: a source row that the verdict names with a null confidence', async () => {
    const theirs = await written('bandcamp', 'backfill');
    await writer.service([namedBy(leg('bandcamp', null, { confidence: null }))]);
    expect(await writer.sources(DILATE)).toEqual({ bandcamp: theirs });
  });

  test.each([SERVICE, 'repair:', REPAIR])(
    'does not include a source row with the notes %j',
    async (notes) => {
      await written('bandcamp', notes);
      expect(await writer.service([singleArtist(DILATE)])).toMatchObject({ source: { removed: 1 } });
      expect(Object.keys(await writer.sources(DILATE)).sort()).toEqual(['discogs', 'spotify']);
    },
  );

  test('goes over to us where the verdict names another id, save for what only they compose', async () => {
    const theirs = await written('discogs', 'backfill');

    await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });

    expect((await writer.sources(DILATE)).discogs).toEqual({
      ...FROM_DISCOGS,
      boost_sources: 'discogs',
      last_verified_at: TUESDAY,
    });
    expect(await writer.superseded(DILATE)).toContainEqual(
      expect.objectContaining({ ...theirs, action: 'changed' }),
    );
  });
});

describe('a source', () => {
  test('that found nothing is not written but counted', async () => {
    const report = await writer.service([
      namedBy(
        leg('discogs', '11442'),
        leg('spotify', null, { confidence: null, method: null }),
        leg('bandcamp', null, { confidence: null }),
      ),
    ]);

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        source_rows_skipped_null_confidence: 2,
        identity: { inserted: 1 },
        source: { inserted: 1 },
      }),
    );
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS });
  });

  test.each([
    ['the first', [0.98, 0.9, 0.95], 'a'],
    ['the last', [0.9, 0.95, 0.98], 'c'],
    ['the one in between', [0.9, 0.98, 0.95], 'b'],
    ['the first of equals', [0.9, 0.98, 0.98], 'b'],
  ])('named three times is written as its highest confidence has it: %s', async (_, confidences, winner) => {
    const named = confidences.map((confidence, index) =>
      leg('spotify', 'abc'[index], { method: 'name_variation', confidence }),
    );
    const report = await writer.service([namedBy(leg('discogs', '11442'), ...named)]);

    expect(report).toEqual(
      reported({
        rows_resolved: 1,
        source_rows_skipped_duplicate: 2,
        identity: { inserted: 1 },
        source: { inserted: 2 },
      }),
    );
    expect(await writer.sources(DILATE)).toEqual({
      discogs: FROM_DISCOGS,
      spotify: { ...FROM_SPOTIFY, external_id: winner, confidence: 0.98 },
    });
  });

  test('that found something once and nothing once is no duplicate', async () => {
    const report = await writer.service([
      namedBy(leg('discogs', null, { confidence: null }), leg('discogs', '11442')),
    ]);

    expect(report).toMatchObject({
      source_rows_skipped_duplicate: 0,
      source_rows_skipped_null_confidence: 1,
    });
    expect(await writer.sources(DILATE)).toEqual({ discogs: FROM_DISCOGS });
  });

  test('left out for a better one does not count as out of its band', async () => {
    const [weak, strong] = [leg('discogs', '1', { confidence: 0.5 }), leg('discogs', '11442')];
    expect(await writer.service([namedBy(weak, strong)])).toMatchObject({
      source_rows_skipped_duplicate: 1,
      source_rows_out_of_band: 0,
    });
  });

  // The locked bands, each with what just passes and what just fails, the tolerance being 0.00001.
  test.each([
    ['manual', 0.99999, 0.999989],
    ['exact_match', 0.99999, 0.999989],
    ['name_variation', 0.89999, 0.899989],
    ['name_variation', 0.99001, 0.990011],
    ['member_group', 0.79999, 0.799989],
    ['member_group', 0.89001, 0.890011],
    ['alias_match', 0.74999, 0.749989],
    ['alias_match', 0.84001, 0.840011],
    ['trigram', 0.69999, 0.699989],
    ['llm', 0.59999, 0.599989],
    ['llm', 0.79001, 0.790011],
  ])(
    'by %s is in its band with %d and is counted, though written, with %d',
    async (method, inside, outside) => {
      const legs = [inside, outside].map((confidence, index) =>
        leg(['discogs', 'spotify'][index]!, 'ani', { method, confidence }),
      );
      const report = await writer.service([namedBy(...legs)]);

      expect(report).toMatchObject({ rows_resolved: 1, source_rows_out_of_band: 1, source: { inserted: 2 } });
      expect(await writer.sources(DILATE)).toMatchObject({
        discogs: { confidence: inside },
        spotify: { confidence: outside },
      });
    },
  );

  test.each([
    ['cross_source_agreement', 0],
    ['cross_source_agreement', 1],
    ['trigram', 1],
    ['name_variation', 0.8999999762],
  ])('by %s is in its band with %d', async (method, confidence) => {
    const report = await writer.service([namedBy(leg('discogs', '11442', { method, confidence }))]);
    expect(report).toMatchObject({ rows_resolved: 1, source_rows_out_of_band: 0 });
  });
});
