// A settlement may be limited to some of the libraries that an answer names, and belongs to the run and batch it is given.
import { expect, test } from 'vitest';
import { DILATE, ERASER, MONDAY, SERVICE, singleArtist, toText, useWriter } from '../../support/writer.js';

const writer = useWriter();

async function settle(verdicts: unknown[], requested: number[], chosen: number[] | null) {
  const [row] = await writer.sql`
    select identity_sync_private.settle_verdicts(
      ${toText(verdicts)}::text::jsonb, ${requested}, ${SERVICE}, ${MONDAY.toISOString()}::text::timestamptz, false,
      run_id => 12, batch_id => 34, chosen => ${chosen}) as report`;
  return row!.report;
}

test('what is not chosen is neither written nor counted, whatever is wrong with it', async () => {
  const verdicts = [{ ...singleArtist(ERASER), method: null }, singleArtist(DILATE)];
  expect(await settle(verdicts, [DILATE, ERASER], [DILATE])).toMatchObject({ scanned: 1, rows_resolved: 1 });
  expect(await writer.identity(DILATE)).toBeDefined();
  expect(await writer.quarantine()).toEqual([]);
  expect(await writer.attempts()).toEqual([]);
});

test('one of the chosen that did not come is missed', async () => {
  expect(await settle([singleArtist(DILATE)], [DILATE, ERASER], [ERASER])).toMatchObject({
    scanned: 1,
    rows_skipped: { lml_cardinality_mismatch: 1 },
  });
});

test('the settlement names its run and batch', async () => {
  await settle([singleArtist(DILATE)], [DILATE], null);
  const [row] = await writer.sql`select run_id, batch_id from identity_sync.settlement`;
  expect(row).toEqual({ run_id: '12', batch_id: '34' });
});
