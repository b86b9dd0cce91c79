// What releasing a library does to its source rows: ours go and are kept as they were, another writer's stay.
import { expect, test } from 'vitest';
import { DILATE, MONDAY, SERVICE, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

const release = async (id: number) => {
  const [row] = await writer.sql`
    select identity_sync.release_identity(library_id => ${id}, reason => 'the wrong band') as released`;
  return row!.released;
};

test('rows of ours go, each as it was into superseded_source, under the reason and the settlement of the release', async () => {
  await writer.service([singleArtist(DILATE)]);

  expect(await release(DILATE)).toEqual({ library_id: DILATE, identity: 'removed', sources_removed: 2 });

  expect(await writer.sources(DILATE)).toEqual({});
  const kept = { library_id: DILATE, action: 'removed', superseded_reason: 'the wrong band', notes: SERVICE };
  const superseded = await writer.superseded(DILATE);
  expect(superseded.toSorted((one, other) => String(one.source).localeCompare(String(other.source)))).toEqual(
    [
      expect.objectContaining({ ...kept, source: 'discogs', external_id: '11442', last_verified_at: MONDAY }),
      expect.objectContaining({ ...kept, source: 'spotify', method: 'name_variation', confidence: 0.95 }),
    ],
  );
  const settlements = await writer.sql`
    select distinct settlement_id from identity_sync.superseded_source
    union select settlement_id from identity_sync.attempt where outcome = 'released'`;
  expect(settlements).toHaveLength(1);
});

test('a row of another writer stays, and one without notes', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.sql`
    insert into wxyc_schema.library_identity_source (library_id, source, external_id, method, confidence, last_verified_at, notes)
    values (${DILATE}, 'bandcamp', 'ani', 'manual', 1, ${MONDAY}, 'the librarian'), (${DILATE}, 'wikidata', 'Q1', 'manual', 1, ${MONDAY}, null)`;

  expect(await release(DILATE)).toMatchObject({ sources_removed: 2 });

  expect(Object.keys(await writer.sources(DILATE)).sort()).toEqual(['bandcamp', 'wikidata']);
  expect(await writer.superseded(DILATE)).toHaveLength(2);
});

test('a library without source rows has none removed, and is due', async () => {
  expect(await release(DILATE)).toEqual({ library_id: DILATE, identity: 'none', sources_removed: 0 });
  expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'released' }]);
});
