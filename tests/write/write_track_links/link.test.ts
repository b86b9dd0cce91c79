import { describe, expect, test } from 'vitest';
import {
  counted,
  credits,
  FORRO,
  LINKED,
  missed,
  track,
  UNLINKED,
  useTracks,
  YOUTH,
} from '../../support/tracks.js';
import { MONDAY, TUESDAY } from '../../support/writer.js';

const tracks = useTracks();

const SWEET = ['Luiz Gonzaga', 'O Fole Roncou'] as const;

describe('a credit', () => {
  test('is linked in its last four columns, and in no other', async () => {
    const id = await tracks.artist('Luiz Gonzaga');
    await tracks.credit(FORRO, ...SWEET);
    const [before] = await credits(tracks.sql);
    expect(await tracks.apply(FORRO, [track(...SWEET, { track_position: '1', confidence: 0.75 })])).toEqual({
      written: 1,
      position_written: 1,
    });
    const [after] = await credits(tracks.sql);
    expect(after).toEqual({
      ...before,
      track_position: '1',
      track_artist_id: id,
      track_artist_link_confidence: 0.75,
      track_artist_link_method: 'lml_backfill',
      xmin: after!.xmin,
    });
  });

  test.each([
    ['a confidence', { confidence: 0.95 }, 0.95],
    ['a float4, which shows', { confidence: 0.8999999762 }, 0.9],
    ['no confidence', { confidence: null }, null],
    ['the least', { confidence: 0 }, 0],
  ])('gets %s as it is', async (_what, changes, confidence) => {
    const credit = await tracks.credit(FORRO, ...SWEET);
    expect(await tracks.apply(FORRO, [track(...SWEET, changes)])).toEqual({
      written: 1,
      no_catalog_artist: 1,
    });
    expect(await tracks.link(credit)).toMatchObject({ track_artist_link_confidence: confidence });
  });

  test.each([-0.01, 1.01, 95])('gets none for a confidence of %s, which is counted', async (confidence) => {
    const credit = await tracks.credit(FORRO, ...SWEET);
    expect(await tracks.apply(FORRO, [track(...SWEET, { confidence })])).toMatchObject({
      written: 1,
      confidence_out_of_range: 1,
    });
    expect(await tracks.link(credit)).toMatchObject({
      track_artist_link_confidence: null,
      track_artist_link_method: 'lml_backfill',
    });
  });

  test('that a librarian has linked is never touched', async () => {
    const id = await tracks.artist('Luiz Gonzaga');
    const other = await tracks.artist('Gonzaguinha');
    const byHand = { track_artist_id: other, track_artist_link_method: 'librarian' };
    for (const title of ['Danado De Bom', 'A Feira De Caruaru']) {
      await tracks.credit(FORRO, 'Luiz Gonzaga', title, byHand);
    }
    const before = await credits(tracks.sql);
    const said = [
      track('Luiz Gonzaga', 'Danado De Bom', { track_position: '4' }),
      missed('Luiz Gonzaga', 'A Feira De Caruaru', { track_position: '13' }),
    ];
    expect(await tracks.apply(FORRO, said)).toEqual({ librarian: 2 });
    expect(await tracks.apply(FORRO, said, { origin: 'repair:music-director' })).toEqual({ librarian: 2 });
    expect(await credits(tracks.sql)).toEqual(before);
    expect(id).not.toBe(other);
  });

  test.each([
    ['another artist', 'Gal Costa', { written: 1 }],
    ['no artist of the catalogue', 'Gal Fatal', { written: 1, no_catalog_artist: 1 }],
  ])('linked by any other hand is linked again, to %s', async (_whom, name, counts) => {
    const [known, fresh] = [await tracks.artist('Anastácia'), await tracks.artist('Gal Costa')];
    const was = {
      track_artist_id: known,
      track_artist_link_confidence: 0.5,
      track_artist_link_method: 'exact_name',
    };
    const credit = await tracks.credit(FORRO, ...SWEET, { ...was, track_position: '1' });
    expect(await tracks.apply(FORRO, [track(...SWEET, { resolved_artist_name: name })])).toEqual(counts);
    expect(await tracks.link(credit)).toEqual({
      ...LINKED,
      track_artist_id: name === 'Gal Costa' ? fresh : null,
    });
    expect(await tracks.superseded()).toEqual([
      { credit_id: credit, library_id: FORRO, action: 'changed', ...was, track_position: '1' },
    ]);
  });

  test('keeps its link where the matcher failed, unless LML had made that link', async () => {
    const id = await tracks.artist('Anastácia');
    const other = await tracks.credit(FORRO, 'Anastácia', 'Querubim', {
      track_artist_id: id,
      track_artist_link_method: 'exact_name',
    });
    const never = await tracks.credit(FORRO, 'Clemilda', 'Recordaçao De Vaqueiro');
    const ours = await tracks.credit(FORRO, 'Anastácia', 'O Succeso Da Zefinha', {
      track_artist_id: id,
      track_position: '6',
      ...LINKED,
    });
    const untouched = [await tracks.link(other), await tracks.link(never)];
    const said = [
      missed('Anastácia', 'Querubim', { track_position: '5' }),
      missed('Clemilda', 'Recordaçao De Vaqueiro'),
      missed('Anastácia', 'O Succeso Da Zefinha'),
    ];
    expect(await tracks.apply(FORRO, said)).toEqual({ unlinked: 1, no_resolved_name: 2 });
    expect([await tracks.link(other), await tracks.link(never)]).toEqual(untouched);
    expect(await tracks.position(other)).toBeNull();
    expect(await tracks.link(ours)).toEqual(UNLINKED);
    expect(await tracks.position(ours)).toBe('6');
    expect(await tracks.superseded()).toEqual([
      {
        credit_id: ours,
        library_id: FORRO,
        action: 'unlinked',
        track_artist_id: id,
        ...LINKED,
        track_position: '6',
      },
    ]);
    expect(await tracks.apply(FORRO, said)).toEqual({ no_resolved_name: 3 });
  });

  test('is unlinked whole, with any confidence that LML states without a name', async () => {
    const credit = await tracks.credit(FORRO, ...SWEET, LINKED);
    expect(await tracks.apply(FORRO, [missed(...SWEET, { confidence: 0.9 })])).toEqual({ unlinked: 1 });
    expect(await tracks.link(credit)).toEqual(UNLINKED);
  });

  test.each([
    ['an empty name', ''],
    ['a blank name', ' \t'],
    ['no name at all', undefined],
  ])('is taken for missed with %s', async (_what, resolved_artist_name) => {
    await tracks.credit(FORRO, ...SWEET);
    expect(await tracks.apply(FORRO, [track(...SWEET, { resolved_artist_name })])).toEqual({
      no_resolved_name: 1,
    });
  });

  test('that no entry speaks of stays as it is', async () => {
    const id = await tracks.artist('Anastácia');
    await tracks.credit(FORRO, 'Anastácia', 'O Succeso Da Zefinha', { track_artist_id: id, ...LINKED });
    const before = await credits(tracks.sql);
    expect(await tracks.apply(FORRO, [])).toEqual({});
    expect(await credits(tracks.sql)).toEqual(before);
  });
});

describe('the same answer once more', () => {
  test('touches no credit, keeps nothing and issues no UPDATE', async () => {
    await tracks.artist('Luiz Gonzaga');
    await tracks.artist('Lawrence');
    await tracks.artist('lawrence');
    const [linked, unlinked, homonym, byHand] = ['One', 'Two', 'Three', 'Four'];
    await tracks.credit(FORRO, 'Luiz Gonzaga', linked!);
    await tracks.credit(FORRO, 'Luiz Gonzaga', unlinked!, LINKED);
    await tracks.credit(FORRO, 'Luiz Gonzaga', homonym!);
    await tracks.credit(FORRO, 'Luiz Gonzaga', byHand!, { track_artist_link_method: 'librarian' });
    const said = [
      track('Luiz Gonzaga', linked, { track_position: 'A1', confidence: 0.7 }),
      missed('Luiz Gonzaga', unlinked),
      track('Luiz Gonzaga', homonym, { resolved_artist_name: 'Lawrence', confidence: 7 }),
      track('Luiz Gonzaga', byHand),
      track('Luiz Gonzaga', 'Five'),
      'no track',
    ];
    const updates = await tracks.watchUpdates();

    expect(await tracks.apply(FORRO, said, { verifiedAt: MONDAY })).toEqual({
      written: 2,
      unlinked: 1,
      librarian: 1,
      no_cta_match: 1,
      unusable: 1,
      no_catalog_artist: 1,
      position_written: 1,
      confidence_out_of_range: 1,
    });
    expect(await updates()).toBe(1);

    const before = [await credits(tracks.sql), await tracks.superseded()];
    expect(await tracks.apply(FORRO, said, { verifiedAt: TUESDAY })).toEqual({
      unchanged: 2,
      no_resolved_name: 1,
      librarian: 1,
      no_cta_match: 1,
      unusable: 1,
      no_catalog_artist: 1,
      confidence_out_of_range: 1,
    });
    expect([await credits(tracks.sql), await tracks.superseded()]).toEqual(before);
    expect(await updates()).toBe(1);
  });

  test('moves only the mark of the attempt', async () => {
    await tracks.credit(FORRO, ...SWEET);
    await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });
    const before = await tracks.writer.everything();
    await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: TUESDAY });
    expect(await tracks.writer.everything()).toEqual(before);
    expect(await tracks.writer.attempts()).toEqual([
      { library_id: FORRO, outcome: 'compilation', attempted_at: TUESDAY },
    ]);
  });
});

test('one answer about several compilations is one UPDATE, and the settlement knows what was linked for the first time', async () => {
  const id = await tracks.artist('Anastácia');
  const first = await tracks.credit(FORRO, ...SWEET);
  const again = await tracks.credit(FORRO, 'Anastácia', 'Querubim', { ...LINKED, track_artist_id: id });
  const other = await tracks.credit(YOUTH, 'هدى عمار', 'قلبى الصغير');
  const updates = await tracks.watchUpdates();
  const tracked = (library_id: number, entries: unknown[]) => ({
    kind: 'compilation',
    library_id,
    provenance: [],
    tracks_attempted: true,
    tracks: entries,
  });
  const report = await tracks.writer.apply(
    {
      results: [
        tracked(YOUTH, [track('هدى عمار', 'قلبى الصغير', { track_position: '8' })]),
        tracked(FORRO, [
          track(...SWEET),
          track('Anastácia', 'Querubim', { confidence: 0.5, track_position: '5' }),
        ]),
      ],
      tracks_contract_version: 1,
    },
    { requested: [FORRO, YOUTH], origin: 'consumer:lml-bulk' },
  );
  expect(counted(report.compilation_track)).toEqual({
    written: 3,
    no_catalog_artist: 2,
    position_written: 2,
  });
  expect(report.rows_resolved_compilation).toBe(2);
  expect(await updates()).toBe(1);
  const [settlement] = await tracks.sql`
    select
      array(select unnest(linked_credit_ids) as id order by id) as linked_credit_ids,
      array(select unnest(positioned_credit_ids) as id order by id) as positioned_credit_ids
    from identity_sync.settlement order by settlement_id desc limit 1`;
  expect(settlement!.linked_credit_ids).toEqual([first, other]);
  expect(settlement!.positioned_credit_ids).toEqual([again, other]);
  expect(await tracks.superseded()).toMatchObject([
    { credit_id: again, action: 'changed', track_position: null },
  ]);
});
