import { describe, expect, test } from 'vitest';
import { FORRO, missed, track, UNLINKED, useTracks } from '../../support/tracks.js';

const tracks = useTracks();

const ASA_BRANCA = ['Gonzaguinha', 'Asa Branca'] as const;

/** An entry of the one key, which names its artist by a number so that the links distinguish them. */
const said = (number: number, confidence: number | null) =>
  track(...ASA_BRANCA, { resolved_artist_name: `Artist ${number}`, confidence });

/** Which of the entries, by the number of its artist, the credit was linked by. */
async function linkedBy(entries: unknown[]) {
  const artists = [];
  for (const number of [1, 2, 3]) artists.push(await tracks.artist(`Artist ${number}`));
  const credit = await tracks.credit(FORRO, ...ASA_BRANCA);
  const counts = await tracks.apply(FORRO, entries);
  const { track_artist_id } = await tracks.link(credit);
  return { counts, number: artists.indexOf(track_artist_id as number) + 1 };
}

describe('of several entries of one key', () => {
  test.each([
    ['the one of highest confidence counts', [said(1, 0.7), said(2, 0.9), said(3, 0.8)], 2],
    ['the first of the highest counts', [said(1, 0.7), said(2, 0.9), said(3, 0.9)], 2],
    ['the first counts where none has a confidence', [said(3, null), said(1, null)], 3],
    ['any confidence counts before none', [said(1, null), said(2, 0)], 2],
    ['a confidence out of range counts as none', [said(1, 7), said(2, 0.1)], 2],
    ['an unusable one does not count at all', [said(2, 0.1), { ...said(1, 0.9), track_position: 5 }], 2],
    ['a missed one counts as it stands, without a confidence', [missed(...ASA_BRANCA), said(2, 0.1)], 2],
  ])('%s', async (_rule, entries, number) => {
    expect((await linkedBy(entries)).number).toBe(number);
  });

  test('all are counted once, as the one that counts', async () => {
    const { counts } = await linkedBy([said(1, 0.7), said(2, 7), said(3, 0.8), missed(...ASA_BRANCA)]);
    expect(counts).toEqual({ written: 1 });
    expect(
      await tracks.apply(FORRO, [track('Clemilda', 'Querubim'), track('Clemilda', 'Querubim'), 5, 5]),
    ).toEqual({ no_cta_match: 1, unusable: 2 });
  });

  test('keys that look alike when run together are kept apart', async () => {
    const one = await tracks.credit(FORRO, 'Gal', 'Costa Festa');
    const two = await tracks.credit(FORRO, 'Gal Costa', 'Festa');
    const twice = [
      track('Gal', 'Costa Festa', { confidence: 0.5 }),
      track('Gal Costa', 'Festa', { confidence: 0.75 }),
    ];
    expect(await tracks.apply(FORRO, [...twice, ...twice])).toMatchObject({ written: 2 });
    expect(await tracks.link(one)).toMatchObject({ track_artist_link_confidence: 0.5 });
    expect(await tracks.link(two)).toMatchObject({ track_artist_link_confidence: 0.75 });
  });

  test('an untitled key is not an empty-titled one', async () => {
    const untitled = await tracks.credit(FORRO, 'Gal Costa', null);
    const entries = [
      track('Gal Costa', '', { confidence: 0.9 }),
      track('Gal Costa', null, { confidence: 0.5 }),
    ];
    expect(await tracks.apply(FORRO, entries)).toEqual({ written: 1, no_catalog_artist: 1, no_cta_match: 1 });
    expect(await tracks.link(untitled)).toMatchObject({ track_artist_link_confidence: 0.5 });
  });

  test('a missed first one with a higher confidence than its double takes nothing for granted', async () => {
    const credit = await tracks.credit(FORRO, ...ASA_BRANCA);
    const entries = [missed(...ASA_BRANCA, { confidence: 0.9 }), said(1, 0.8)];
    expect(await tracks.apply(FORRO, entries)).toEqual({ no_resolved_name: 1 });
    expect(await tracks.link(credit)).toEqual(UNLINKED);
  });
});
