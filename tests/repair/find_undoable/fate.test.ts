// What of a settlement can be taken back, library by library.
import { describe, expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  leg,
  NEW_AMERYKAH,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

const lastSettlement = async () => {
  const [row] = await writer.sql`select max(settlement_id) as id from identity_sync.settlement`;
  return row!.id as string;
};

const fates = async (
  ids: number[] | null,
  later: number[] = [],
  undone: number[] = [],
  settlementId?: string,
) => {
  const id = settlementId ?? (await lastSettlement());
  const rows = await writer.sql`
    select library_id, was_absent, history_id is not null as is_kept, is_there, fate
    from unnest(identity_sync_private.find_undoable(
      ${id}, ${ids}, ${later}, ${undone},
      array(select unnest(written_by) from identity_sync.settlement where settlement_id > ${id})))
    order by library_id`;
  return [...rows];
};

test('each has the one fate that its rows, later runs and earlier undos leave it', async () => {
  await writer.service([singleArtist(ERASER)]);
  const verdicts = [
    singleArtist(DILATE),
    singleArtist(ERASER, { confidence: 0.96 }),
    singleArtist(SANGOMA),
    singleArtist(NEW_AMERYKAH),
  ];
  await writer.service(verdicts, { verifiedAt: TUESDAY });
  await writer.sql`
    update wxyc_schema.library_identity set notes = 'repair:alice' where library_id = ${SANGOMA}`;

  const inserted = { was_absent: true, is_kept: false, is_there: true };
  expect(await fates(null, [NEW_AMERYKAH])).toEqual([
    { ...inserted, library_id: DILATE, fate: 'undone' },
    { library_id: ERASER, was_absent: false, is_kept: true, is_there: true, fate: 'undone' },
    { ...inserted, library_id: SANGOMA, fate: 'held' },
    { ...inserted, library_id: NEW_AMERYKAH, fate: 'newer' },
  ]);
  expect(await fates([DILATE, ERASER], [], [DILATE])).toMatchObject([{ library_id: ERASER, fate: 'undone' }]);
});

describe('a row that anybody has changed since is newer, and its neighbour is not', () => {
  const source = (id: number, name: string, notes: string) => `
    insert into wxyc_schema.library_identity_source
      (library_id, source, external_id, method, confidence, last_verified_at, notes)
    values (${id}, '${name}', 'x', 'manual', 1, now(), '${notes}')`;
  const rename = (id: number, name: string) => `
    update wxyc_schema.library_identity_source set external_id = 'x' where library_id = ${id} and source = '${name}'`;

  // DILATE has another Discogs id, a new id at Bandcamp and none at Spotify any more; ERASER is new.
  test.each([
    ['nothing', 'select', 'undone', 'undone'],
    [
      'the main row',
      `update wxyc_schema.library_identity set spotify_id = 'x' where library_id = ${DILATE}`,
      'newer',
      'undone',
    ],
    ['a source that was removed is there again', source(DILATE, 'spotify', 'station'), 'newer', 'undone'],
    ['a source that was changed', rename(DILATE, 'discogs'), 'newer', 'undone'],
    [
      'a source that was inserted is gone',
      `delete from wxyc_schema.library_identity_source where library_id = ${DILATE} and source = 'bandcamp'`,
      'newer',
      'undone',
    ],
    ['a source that was left alone', rename(DILATE, 'wikidata'), 'undone', 'undone'],
    ['a source of a new identity', rename(ERASER, 'spotify'), 'undone', 'newer'],
    ['a source of ours, come since', source(ERASER, 'wikidata', SERVICE), 'undone', 'newer'],
    ["a source of another's, come since", source(ERASER, 'wikidata', 'station'), 'undone', 'undone'],
    [
      'a column of another writer, confirmed since',
      `update wxyc_schema.library_identity set discogs_release_id = 7 where library_id = ${ERASER}`,
      'undone',
      'newer',
    ],
    [
      'the main row is gone',
      `delete from wxyc_schema.library_identity where library_id = ${DILATE}`,
      'newer',
      'undone',
    ],
  ])('%s', async (what, change, dilate, eraser) => {
    await writer.service([
      singleArtist(DILATE, { provenance: [leg('discogs', '1'), leg('spotify', 's'), leg('wikidata', 'Q1')] }),
    ]);
    const provenance = [leg('discogs', '2'), leg('bandcamp', 'b'), leg('wikidata', 'Q1')];
    const verdicts = [singleArtist(DILATE, { provenance }), singleArtist(ERASER)];
    await writer.service(verdicts, { verifiedAt: TUESDAY });
    const settlementId = await lastSettlement();
    await writer.sql.unsafe(change);
    const later = what.endsWith('confirmed since') ? ERASER : SANGOMA;
    await writer.service([singleArtist(later)], { verifiedAt: WEDNESDAY });

    expect(await fates(null, [], [], settlementId)).toMatchObject([
      { library_id: DILATE, fate: dilate },
      { library_id: ERASER, fate: eraser },
    ]);
  });
});

test('a release can be undone while its library is there', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
  await call(writer.sql, 'release_identity', { library_id: DILATE, reason: 'the wrong band' });
  expect(await fates(null)).toMatchObject([{ library_id: DILATE, is_there: false, fate: 'undone' }]);
  await writer.sql`delete from wxyc_schema.library where id = ${DILATE}`;
  expect(await fates(null)).toMatchObject([{ library_id: DILATE, is_there: false, fate: 'newer' }]);
});
