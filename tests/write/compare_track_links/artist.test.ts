import { describe, expect, test } from 'vitest';
import { FORRO, LINKED, track, useTracks } from '../../support/tracks.js';

const tracks = useTracks();

/** Links a credit of anybody to the artist whom LML names so. */
async function linkTo(name: string) {
  const credit = await tracks.credit(FORRO, 'Unknown Player', 'Asa Branca');
  const counts = await tracks.apply(FORRO, [
    track('Unknown Player', 'Asa Branca', { resolved_artist_name: name }),
  ]);
  return { counts, link: await tracks.link(credit) };
}

describe('a resolved name means the one artist of the catalogue who has its fold', () => {
  test.each([
    ['the same spelling', 'Milton Nascimento', 'Milton Nascimento'],
    ['another case', 'Milton Nascimento', 'MILTON NASCIMENTO'],
    ['diacritics that the catalogue lacks', 'Bjork', 'Björk'],
    ['diacritics that LML lacks', 'Sigur Rós', 'Sigur Ros'],
    ['decomposed diacritics', 'Nilüfer Yanya', 'Nilu\u0308fer Yanya'],
    ['Cyrillic in another case', 'Аукцыон', 'АУКЦЫОН'],
    ['Greek', 'Σtella', 'σtella'],
    ['letters that do not fold', 'Łukasz', 'łukasz'],
    ['blanks as the catalogue has them', 'Dominguinhos ', 'dominguinhos '],
    ['mojibake as the catalogue has it', 'Beyonc√©', 'beyonc√©'],
  ])('%s', async (_spelling, catalogued, resolved) => {
    const id = await tracks.artist(catalogued);
    expect(await linkTo(resolved)).toEqual({
      counts: { written: 1 },
      link: { ...LINKED, track_artist_id: id },
    });
  });

  test.each([
    ['no artist has', ['Sigur Rós'], 'Sigur Rós Orchestra'],
    ['no artist has: a leading article is not stripped', ['Beatles'], 'The Beatles'],
    ['no artist has: blanks count', ['Dominguinhos'], 'Dominguinhos '],
    ['two have in two spellings', ['Björk', 'Bjork'], 'Björk'],
    ['two have in the same', ['Lawrence', 'Lawrence'], 'Lawrence'],
  ])('a name that %s is linked without an artist, and counted', async (_who, catalogued, resolved) => {
    for (const name of catalogued) await tracks.artist(name);
    expect(await linkTo(resolved)).toEqual({
      counts: { written: 1, no_catalog_artist: 1 },
      link: { ...LINKED, track_artist_id: null },
    });
  });

  test('a homonym that comes into the catalogue takes the link away again', async () => {
    await tracks.artist('Lawrence');
    const { link } = await linkTo('Lawrence');
    expect(link.track_artist_id).not.toBeNull();
    await tracks.artist('LAWRENCE');
    const said = track('Unknown Player', 'Asa Branca', { resolved_artist_name: 'Lawrence' });
    expect(await tracks.apply(FORRO, [said])).toEqual({ written: 1, no_catalog_artist: 1 });
    expect(await tracks.superseded()).toMatchObject([
      { action: 'changed', track_artist_id: link.track_artist_id },
    ]);
  });
});
