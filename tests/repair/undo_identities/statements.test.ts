// The station's triggers fire for a statement, whether or not it changes a row. So taking back issues none where nothing
// goes or comes back.
import { expect, test } from 'vitest';
import { watchStatements } from '../../support/statements.js';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, singleArtist, TUESDAY, unresolved, useWriter, withMain } from '../../support/writer.js';

const writer = useWriter();

async function undoLastRun(): Promise<string[]> {
  const statements = await watchStatements(writer.sql);
  await undo(writer.sql, await lastRun(writer.sql));
  return statements();
}

test('undoing what was new deletes', async () => {
  await writer.service([singleArtist(DILATE, { provenance: [] })]);
  expect(await undoLastRun()).toEqual(['library_identity_history INSERT', 'library_identity DELETE']);
});

test('undoing a change updates', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.service([withMain(singleArtist(DILATE), { discogs_artist_id: 5 })], { verifiedAt: TUESDAY });
  expect(await undoLastRun()).toEqual(['library_identity_history INSERT', 'library_identity UPDATE']);
});

test('undoing the undo of a new row inserts', async () => {
  await writer.service([singleArtist(DILATE, { provenance: [] })]);
  await undo(writer.sql, await lastRun(writer.sql));
  expect(await undoLastRun()).toEqual(['library_identity INSERT']);
});

test('undoing what wrote nothing issues none', async () => {
  await writer.service([unresolved(DILATE)]);
  expect(await undoLastRun()).toEqual([]);
});
