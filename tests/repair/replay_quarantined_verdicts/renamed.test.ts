// A refusal is replayed with the question that it was the answer to, also where the library's own was taken back since.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, type Report, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('a library that was renamed is not written by an answer for its old name, though an undo forgot that', async () => {
  const { sql } = writer;
  await writer.service([singleArtist(DILATE, { kind: 'hunch' })]);
  await call(sql, 'release_identity', { library_id: DILATE, reason: 'why' });
  await undo(sql, await lastRun(sql));
  await sql`update wxyc_schema.library set artist_name = 'Prince' where id = ${DILATE}`;

  const [row] = await call<{ replay_quarantined_verdicts: Report }>(sql, 'replay_quarantined_verdicts');
  expect(row!.replay_quarantined_verdicts.rows_skipped).toMatchObject({
    stale_verdict: 1,
    invalid_verdict: 0,
  });
});
