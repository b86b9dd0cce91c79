// A new identity whose library has source rows already: they are compared, and never met by a blind insertion.
import { beforeEach, expect, test } from 'vitest';
import { DILATE, ERASER, MONDAY, reported, SERVICE, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

beforeEach(async () => {
  await writer.sql`
    insert into wxyc_schema.library_identity_source (library_id, source, external_id, method, confidence, last_verified_at, notes)
    values
      (${DILATE}, 'discogs', '999', 'manual', 1, ${MONDAY}, 'the librarian'),
      (${DILATE}, 'bandcamp', 'ani', 'exact_match', 1, ${MONDAY}, ${SERVICE}),
      (${DILATE}, 'wikidata', 'Q1', 'manual', 1, ${MONDAY}, 'the librarian')`;
});

test('what the verdict names is changed or added, a row of ours that it does not name goes, the others stay', async () => {
  expect(await writer.service([singleArtist(DILATE), singleArtist(ERASER)])).toMatchObject({
    ...reported({
      rows_resolved: 2,
      identity: { inserted: 2 },
      source: { inserted: 3, changed: 1, removed: 1 },
    }),
  });
  expect(await writer.sources(DILATE)).toMatchObject({
    discogs: { external_id: '11442', notes: SERVICE },
    spotify: { notes: SERVICE },
    wikidata: { external_id: 'Q1', notes: 'the librarian' },
  });
  expect(Object.keys(await writer.sources(DILATE))).toHaveLength(3);
});

test('what was changed or removed is kept; of what was added, the new identity itself is the record', async () => {
  await writer.service([singleArtist(DILATE)]);
  const superseded = await writer.superseded(DILATE);
  expect(superseded.map(({ source, action }) => [source, action]).sort()).toEqual([
    ['bandcamp', 'removed'],
    ['discogs', 'changed'],
  ]);
});
