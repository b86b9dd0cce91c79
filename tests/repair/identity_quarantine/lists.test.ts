// What is in quarantine is listed with the field at fault, all of it or a part.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { DILATE, ERASER, SANGOMA, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

async function list(args: { run_id?: number; ids?: number[] } = {}) {
  const [row] = await call<{ identity_quarantine: Record<string, unknown>[] }>(
    writer.sql,
    'identity_quarantine',
    args,
  );
  return row!.identity_quarantine;
}

test('nothing in quarantine is an empty list', async () => {
  expect(await list()).toEqual([]);
});

test('an entry shows path, value and reason, and the name it is filed under, the latest first', async () => {
  await writer.service([singleArtist(DILATE, { confidence: 7 })]);
  await writer.service([singleArtist(ERASER, { kind: 'x' })]);
  expect(await list()).toMatchObject([
    { library_id: ERASER, artist_name: 'Thom Yorke', album_title: 'The Eraser', path: 'kind', value: 'x' },
    { library_id: DILATE, path: 'confidence', value: 7, reason: expect.stringContaining('confidence') },
  ]);
});

test('ids and a run narrow it', async () => {
  await writer.service([DILATE, SANGOMA].map((id) => singleArtist(id, { kind: 'x' })));
  expect(await list({ ids: [SANGOMA, ERASER] })).toMatchObject([{ library_id: SANGOMA }]);
  expect(await list({ ids: [] })).toEqual([]);
  expect(await list({ run_id: 999_999 })).toEqual([]);
});
