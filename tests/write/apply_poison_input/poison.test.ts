// What an input that LML refuses leaves behind, whether it is settled at once or by applying a preview.
import { expect, test } from 'vitest';
import { plan } from '../../support/catalogue.js';
import { DILATE, MONDAY, singleArtist, TUESDAY, useWriter, WEDNESDAY } from '../../support/writer.js';

const writer = useWriter();

/** Settles the input of one library as poison, and returns the outcome that it counts as. */
async function poison(verifiedAt = TUESDAY) {
  const runId = await plan(writer.sql, { scope: 'ids', ids: [DILATE] });
  const [row] = await writer.sql`
    select identity_sync_private.apply_poison_input(
      batch_id, ${DILATE}, 'LML answered 422', '{}', ${verifiedAt}, false
    ) as report
    from identity_sync.batch where run_id = ${runId}`;
  expect(row!.report.scanned).toBe(1);
  return Object.entries(row!.report.rows_skipped).find(([, count]) => count === 1)?.[0];
}

const marks = async () =>
  (await writer.attempts()).map(({ outcome, attempted_at }) => ({ outcome, attempted_at }));

test('a mark and an entry with LML’s words, and a second time nothing', async () => {
  expect(await poison()).toBe('poison_input');
  const left = [await writer.attempts(), await writer.quarantine()];
  expect(left).toMatchObject([
    [{ library_id: DILATE, outcome: 'poison_input', attempted_at: TUESDAY }],
    [{ library_id: DILATE, outcome: 'poison_input', reason: 'LML answered 422' }],
  ]);

  expect(await poison()).toBe('poison_input');
  expect([await writer.attempts(), await writer.quarantine()]).toEqual(left);
});

test('older than the identity that is there: stale_verdict, and nothing', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });
  expect(await poison()).toBe('stale_verdict');
  expect([await writer.attempts(), await writer.quarantine()]).toEqual([[], []]);
});

test('older than the release: stale_verdict, and the release stays', async () => {
  await writer.sql`select identity_sync.release_identity(${DILATE}, 'the wrong band')`;
  expect(await poison()).toBe('stale_verdict');
  expect(await marks()).toMatchObject([{ outcome: 'released' }]);
  expect(await writer.quarantine()).toEqual([]);
});

test('older than another refusal: counted, and that refusal stays open', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'artist' })], { verifiedAt: WEDNESDAY });
  expect(await poison(MONDAY)).toBe('poison_input');
  expect(await marks()).toEqual([{ outcome: 'invalid_verdict', attempted_at: WEDNESDAY }]);
  expect(await writer.quarantine()).toMatchObject([{ outcome: 'invalid_verdict' }]);
});

test('of a library that is gone: library_gone, and nothing', async () => {
  const runId = await plan(writer.sql, { scope: 'ids', ids: [DILATE] });
  await writer.sql`delete from wxyc_schema.library where id = ${DILATE}`;
  const [row] = await writer.sql`
    select identity_sync_private.apply_poison_input(batch_id, ${DILATE}, 'no', null, ${TUESDAY}, false) as report
    from identity_sync.batch where run_id = ${runId}`;
  expect(row!.report.rows_skipped).toMatchObject({ library_gone: 1, poison_input: 0 });
  expect([await writer.attempts(), await writer.quarantine()]).toEqual([[], []]);
});
