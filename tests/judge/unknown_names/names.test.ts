// What LML named and this service does not know.
import { expect, test } from 'vitest';
import {
  DILATE,
  type Fields,
  leg,
  SANGOMA,
  singleArtist,
  toText,
  unresolved,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

async function unknownNames(results: Fields[], hasUnknownSources = true): Promise<string[]> {
  const [row] = await writer.sql<[{ names: string[] }]>`
    select identity_sync_private.unknown_names(${toText(results)}::text::jsonb, ${hasUnknownSources}) as names`;
  return row.names;
}

test('an answer that is as agreed names nothing', async () => {
  expect(await unknownNames([singleArtist(DILATE), unresolved(SANGOMA)])).toEqual([]);
  expect(await unknownNames([])).toEqual([]);
});

test('sources, methods and keys are named once each', async () => {
  const deezer = leg('deezer', '1', { method: 'acoustic' });
  const results = [
    unresolved(SANGOMA),
    withMain(singleArtist(DILATE, { provenance: [deezer, deezer], method: 'acoustic', release: {} }), {
      isni: null,
    }),
  ];
  expect(await unknownNames(results)).toEqual([
    'key main.isni',
    'key release',
    'method acoustic',
    'source deezer',
  ]);
});

test('all results are looked through where an unknown source was counted, otherwise the first twenty', async () => {
  const deezer = singleArtist(DILATE, { provenance: [leg('deezer', '1')] });
  const results = [...Array.from({ length: 20 }, () => singleArtist(DILATE)), deezer];
  expect(await unknownNames(results, true)).toEqual(['source deezer']);
  expect(await unknownNames(results, false)).toEqual([]);
  expect(await unknownNames([deezer], false)).toEqual(['source deezer']);
});

test('what a person cannot read is not named, and of a flood the first twenty are', async () => {
  const flood = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`key${index}`, index]));
  expect(await unknownNames([singleArtist(DILATE, { '\u001b[2J': 1, ['x'.repeat(65)]: 1 })])).toEqual([]);
  expect(await unknownNames([singleArtist(DILATE, flood)])).toHaveLength(20);
});
