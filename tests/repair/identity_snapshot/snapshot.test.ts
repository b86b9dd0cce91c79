// What is stored for the records that an answer names, to be compared with what is stored after it.
import { expect, test } from 'vitest';
import { DILATE, ERASER, NOWHERE, singleArtist, TUESDAY, toText, useWriter } from '../../support/writer.js';

const writer = useWriter();

async function snapshot(answer: unknown) {
  const [row] = await writer.sql<[{ state: Record<string, Record<string, object>> }]>`
    select identity_sync.identity_snapshot(${toText(answer)}::text::jsonb) as state`;
  return row.state;
}

test('it holds the main row, each source row and each credit of the records that are named, and of no other', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
  const [credit] = await writer.sql`
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name) values (${DILATE}, 'Ani') returning id`;

  const state = await snapshot([{ library_id: DILATE }]);

  expect(Object.keys(state)).toEqual([String(DILATE)]);
  const rows = state[DILATE]!;
  expect(Object.keys(rows).sort()).toEqual([
    'identity',
    'source discogs',
    'source spotify',
    `track ${credit!.id}`,
  ]);
  expect(rows).toMatchObject({
    identity: { discogs_artist_id: 11442 },
    'source discogs': { external_id: '11442' },
  });
});

test('a confirmation alone changes nothing in it', async () => {
  await writer.service([singleArtist(DILATE)]);
  const before = await snapshot(singleArtist(DILATE));
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
  expect(await snapshot(singleArtist(DILATE))).toEqual(before);
});

test.each([
  ['a whole answer', (verdict: object) => ({ results: [verdict] })],
  ['an array of results', (verdict: object) => [verdict]],
  ['one result', (verdict: object) => verdict],
])('it takes %s', async (_, shape) => {
  expect(await snapshot(shape(singleArtist(NOWHERE)))).toEqual({ [NOWHERE]: {} });
});

test.each([[null], ['no answer'], [[5, null, { library_id: 'one' }, { library_id: 1.5 }]], [[]]])(
  'it is empty of what names no record: %j',
  async (answer) => {
    expect(await snapshot(answer)).toEqual({});
  },
);
