// What others have done since a run: written later, undone before, and the transactions that are the writer's own.
import { expect, test } from 'vitest';
import { lastRun, undo } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  leg,
  SANGOMA,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

test('the last to write a library counts: another run, or an undo of this one', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(ERASER), singleArtist(SANGOMA)]);
  const runId = await lastRun(writer.sql);
  await writer.service([singleArtist(DILATE, { confidence: 0.96 }), singleArtist(SANGOMA)], {
    verifiedAt: TUESDAY,
  });
  await undo(writer.sql, runId, [ERASER, SANGOMA]);
  await writer.service([singleArtist(SANGOMA)], { verifiedAt: WEDNESDAY });

  const [since] = await writer.sql`
    select written_later, undone_before, cardinality(undone_by) as undos, cardinality(ours) as ours
    from identity_sync_private.writes_since(${runId})`;
  expect(since).toEqual({
    written_later: expect.arrayContaining([DILATE, SANGOMA]),
    undone_before: [ERASER],
    undos: 1,
    ours: 4,
  });
});

test('an undo that took back sources alone can be undone, since the main row is as our own writer left it', async () => {
  const provenance = (confidence: number) => [leg('discogs', '1', { confidence })];
  await writer.service([singleArtist(DILATE, { provenance: provenance(1) })]);
  await writer.service([singleArtist(DILATE, { provenance: provenance(0.9) })], { verifiedAt: TUESDAY });
  const runId = await lastRun(writer.sql);
  expect(await undo(writer.sql, runId)).toMatchObject({ source: { restored: 1 }, newer: 0 });

  expect(await undo(writer.sql, await lastRun(writer.sql))).toMatchObject({
    source: { restored: 1 },
    newer: 0,
  });
});

test('of a run that wrote nothing there is nothing to say', async () => {
  const [since] = await writer.sql`select * from identity_sync_private.writes_since(0)`;
  expect(since).toEqual({ written_later: [], undone_before: [], undone_by: [], ours: [] });
});
