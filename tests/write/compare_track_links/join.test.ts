import { describe, expect, test } from 'vitest';
import {
  FORRO,
  GYPSY,
  LINKED,
  missed,
  track,
  UNLINKED,
  useTracks,
  visited,
  YOUTH,
} from '../../support/tracks.js';

const tracks = useTracks();

describe('an entry belongs to the credit with exactly its words', () => {
  test.each([
    ['in Portuguese', FORRO, 'Anastácia', 'O Succeso Da Zefinha'],
    ['in Cyrillic', GYPSY, 'Рада Волшанинова', 'Не Смущай («Грушенька»)'],
    ['in Arabic', YOUTH, 'محمد الحلو', 'آه .. آه'],
    ['with a quote and a backslash', FORRO, 'Royce Da 5\'9"', 'back\\slash'],
    ['with a tab', FORRO, 'tab\there', 'semi;col'],
    ['with an emoji of several', FORRO, 'Stereolab 🎸', '👨‍👩‍👧‍👦'],
    // As the station has it stored: UTF-8 read as Latin-1 or MacRoman, or cut short. LML echoes it.
    ['that is mojibake', FORRO, 'Î¼-Ziq', 'YalnÄ±zlar RÄ±htÄ±mÄ±'],
    ['that is MacRoman mojibake twice over', FORRO, 'Habib Koit√É¬©', 'Risqu√É¬© Rhythms'],
    ['that has lost letters', FORRO, 'Astrid Ã?ster Mortenson', 'La Musique Du CÅ?ur'],
    ['with blanks around it', FORRO, ' Dominguinhos ', 'Querubim '],
    ['as long as its columns', FORRO, 'Ö'.repeat(255), '繭'.repeat(255)],
  ])('%s', async (_words, library, artist, title) => {
    const id = await tracks.artist(artist.slice(0, 128));
    const credit = await tracks.credit(library, artist, title);
    const said = track(artist, title, { resolved_artist_name: artist.slice(0, 128) });
    expect(await tracks.apply(library, [said])).toEqual({ written: 1 });
    expect(await tracks.link(credit)).toEqual({ ...LINKED, track_artist_id: id });
  });

  test.each([
    ['another case', 'luiz gonzaga', 'Danado De Bom'],
    ['other diacritics', 'Luíz Gonzaga', 'Danado De Bom'],
    ['another title', 'Luiz Gonzaga', 'A Feira De Caruaru'],
    ['a blank more', 'Luiz Gonzaga', 'Danado De Bom '],
    ['no title', 'Luiz Gonzaga', null],
    ['an empty title', 'Luiz Gonzaga', ''],
  ])('and none with %s', async (_words, artist, title) => {
    const credit = await tracks.credit(FORRO, 'Luiz Gonzaga', 'Danado De Bom');
    expect(await tracks.apply(FORRO, [track(artist, title)])).toEqual({ no_cta_match: 1 });
    expect(await tracks.link(credit)).toEqual(UNLINKED);
  });

  test('composed and decomposed spellings are two', async () => {
    const composed = await tracks.credit(FORRO, 'Anast\u00e1cia', 'Caf\u00e9');
    const decomposed = await tracks.credit(FORRO, 'Anasta\u0301cia', 'Cafe\u0301');
    expect(await tracks.apply(FORRO, [track('Anasta\u0301cia', 'Cafe\u0301')])).toMatchObject({ written: 1 });
    expect(await tracks.link(composed)).toEqual(UNLINKED);
    expect(await tracks.link(decomposed)).toMatchObject(LINKED);
  });

  test('no title to no title, and an empty one to an empty one', async () => {
    const untitled = await tracks.credit(FORRO, 'Marinalva', null);
    const empty = await tracks.credit(FORRO, 'Marinalva', '');
    const said = [
      track('Marinalva', null, { confidence: 0.75 }),
      track('Marinalva', '', { confidence: 0.5 }),
    ];
    expect(await tracks.apply(FORRO, said)).toMatchObject({ written: 2 });
    expect(await tracks.link(untitled)).toMatchObject({ track_artist_link_confidence: 0.75 });
    expect(await tracks.link(empty)).toMatchObject({ track_artist_link_confidence: 0.5 });
  });

  test('a title that is not mentioned is none', async () => {
    const untitled = await tracks.credit(FORRO, 'Marinalva', null);
    const { track_title: _, ...said } = track('Marinalva', null);
    expect(await tracks.apply(FORRO, [said])).toMatchObject({ written: 1 });
    expect(await tracks.link(untitled)).toMatchObject(LINKED);
  });

  test('in its own compilation only', async () => {
    const here = await tracks.credit(FORRO, 'Gal Costa', 'Festa Do Interior');
    const there = await tracks.credit(YOUTH, 'Gal Costa', 'Festa Do Interior');
    const report = await tracks.writer.apply(
      {
        results: [
          visited(FORRO, [track('Gal Costa', 'Festa Do Interior', { confidence: 0.75 })]),
          visited(YOUTH, [missed('Gal Costa', 'Festa Do Interior')]),
        ],
        tracks_contract_version: 1,
      },
      { requested: [FORRO, YOUTH], origin: 'consumer:lml-bulk' },
    );
    expect(report.compilation_track).toMatchObject({ written: 1, no_resolved_name: 1 });
    expect(await tracks.link(here)).toMatchObject({ track_artist_link_confidence: 0.75 });
    expect(await tracks.link(there)).toEqual(UNLINKED);
  });
});
