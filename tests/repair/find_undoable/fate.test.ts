// What of a settlement can be taken back, library by library.
import { expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  NEW_AMERYKAH,
  SANGOMA,
  singleArtist,
  TUESDAY,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const fates = async (ids: number[] | null, later: number[] = [], undone: number[] = []) => {
  const rows = await writer.sql`
    select library_id, was_absent, history_id is not null as is_kept, is_there, fate
    from unnest(identity_sync_private.find_undoable(
      (select max(settlement_id) from identity_sync.settlement), ${ids}, ${later}, ${undone},
      array(select unnest(written_by) from identity_sync.settlement)))
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
