import { describe, expect, test } from 'vitest';
import { FORRO, missed, track, useTracks } from '../../support/tracks.js';

const tracks = useTracks();

const BOM_DEMAIS = ['Dominguinhos', 'Bom Demais'] as const;

/** Offers positions for one credit, all in entries that name the artist, and returns the position that it gets. */
async function offer(offered: unknown[], known: string | null = null) {
  const credit = await tracks.credit(FORRO, ...BOM_DEMAIS, { track_position: known });
  const said = offered.map((track_position) => track(...BOM_DEMAIS, { track_position }));
  const { written, position_written = 0, ambiguous_position = 0 } = await tracks.apply(FORRO, said);
  expect(written).toBe(1);
  return { position: await tracks.position(credit), position_written, ambiguous_position };
}

describe("a credit's position", () => {
  test.each([['A1'], ['1-11'], ['Vinyl 2, Side B, 11.'], [' 3 '], ['Ⅻ'.repeat(20)]])(
    'is filled with %j',
    async (position) => {
      expect(await offer([position])).toEqual({ position, position_written: 1, ambiguous_position: 0 });
    },
  );

  test('stays where it is known', async () => {
    expect(await offer(['12'], '11')).toEqual({ position: '11', position_written: 0, ambiguous_position: 0 });
    const credit = await tracks.credit(FORRO, 'Marinalva', 'Tarde Nordestina', { track_position: '' });
    await tracks.apply(FORRO, [track('Marinalva', 'Tarde Nordestina', { track_position: '12' })]);
    expect(await tracks.position(credit)).toBe('');
  });

  test.each([
    ['one of 21 characters', ['B'.repeat(21)]],
    ['an empty one', ['']],
    ['a blank one', [' \t']],
    ['none', [null]],
  ])('is not filled with %s', async (_what, offered) => {
    expect(await offer(offered)).toEqual({ position: null, position_written: 0, ambiguous_position: 0 });
  });

  test('is filled where every entry of its key that offers one offers the same', async () => {
    expect(await offer(['B3', null, '', 'B3'])).toEqual({
      position: 'B3',
      position_written: 1,
      ambiguous_position: 0,
    });
  });

  test('is filled with anything offered for other titles of the artist', async () => {
    const credit = await tracks.credit(FORRO, ...BOM_DEMAIS);
    const said = [
      track(...BOM_DEMAIS, { track_position: '11' }),
      track('Dominguinhos', 'Querubim', { track_position: '5' }),
      track(...BOM_DEMAIS, { track_position: '11' }),
    ];
    expect(await tracks.apply(FORRO, said)).toMatchObject({
      written: 1,
      position_written: 1,
      no_cta_match: 1,
    });
    expect(await tracks.position(credit)).toBe('11');
  });

  test.each([
    ['two', ['B3', 'B4']],
    ['two that differ in a letter', ['b3', 'B3']],
    ['two, of which one is too long', ['B3', 'B'.repeat(21)]],
  ])('is not filled where %s are offered, which is counted', async (_what, offered) => {
    expect(await offer(offered)).toEqual({ position: null, position_written: 0, ambiguous_position: 1 });
  });

  test('is no matter of counting where it is known', async () => {
    expect(await offer(['B3', 'B4'], '11')).toMatchObject({ position: '11', ambiguous_position: 0 });
  });

  test('is filled though the link stays as it was', async () => {
    const credit = await tracks.credit(FORRO, ...BOM_DEMAIS);
    await tracks.apply(FORRO, [track(...BOM_DEMAIS)]);
    const link = await tracks.link(credit);
    const said = [track(...BOM_DEMAIS, { track_position: '11' })];
    expect(await tracks.apply(FORRO, said)).toMatchObject({ written: 1, position_written: 1 });
    expect(await tracks.link(credit)).toEqual(link);
    expect(await tracks.position(credit)).toBe('11');
    expect(await tracks.superseded()).toMatchObject([{ action: 'changed', track_position: null, ...link }]);
  });

  test('is not filled by an entry without a name', async () => {
    const credit = await tracks.credit(FORRO, ...BOM_DEMAIS);
    await tracks.apply(FORRO, [missed(...BOM_DEMAIS, { track_position: '11' })]);
    expect(await tracks.position(credit)).toBeNull();
  });
});
