// An undo waits for a writer who takes no lock of ours, and leaves what that wrote.
import { expect, test } from 'vitest';
import { answer, credits, FORRO, track, useTracks, visited } from '../../support/tracks.js';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, ERASER, SERVICE, singleArtist, untilBlocked } from '../../support/writer.js';

const tracks = useTracks();

test.each([
  `update wxyc_schema.library_identity set spotify_id = 'x' where library_id = ${DILATE}`,
  `update wxyc_schema.library_identity_source set external_id = 'x' where library_id = ${DILATE} and source = 'spotify'`,
  `delete from wxyc_schema.library_identity where library_id = ${DILATE}`,
])('an open transaction: %s', async (change) => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
  const runId = await lastRun(tracks.sql);
  const [them, us] = [await writer.session(), await writer.session()];
  await them.sql`begin`;
  await them.sql.unsafe(change);
  const undone = undo(us.sql, runId);
  await untilBlocked(tracks.sql, us);
  await them.sql`commit`;
  const [identity, sources] = [await writer.identity(DILATE), await writer.sources(DILATE)];

  expect(await undone).toMatchObject({ identity: { removed: 1 }, newer: 1 });
  expect([await writer.identity(DILATE), await writer.sources(DILATE)]).toEqual([identity, sources]);
});

test.each([
  ['linked first', {}],
  ['linked anew', { track_artist_link_confidence: 0.5, track_artist_link_method: 'lml_backfill' }],
])('an open transaction that links a credit that the run had %s', async (_what, link) => {
  const id = await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta', link);
  await tracks.apply(FORRO, [track('Marinês', 'Peba na Pimenta')]);
  const runId = await lastRun(tracks.sql);
  const [them, us] = [await tracks.writer.session(), await tracks.writer.session()];
  await them.sql`begin`;
  await them.sql`
    update wxyc_schema.compilation_track_artist set track_artist_link_method = 'librarian' where id = ${id}`;
  const undone = undo(us.sql, runId);
  await untilBlocked(tracks.sql, us);
  await them.sql`commit`;
  const before = await credits(tracks.sql);

  expect(await undone).toMatchObject({ compilation_track: { restored: 0 }, held: 1 });
  expect(await credits(tracks.sql)).toEqual(before);
});

test('an undo of one library waits for no writer of another', async () => {
  await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta');
  const verdicts = [
    singleArtist(DILATE),
    singleArtist(ERASER),
    visited(FORRO, [track('Marinês', 'Peba na Pimenta')]),
  ];
  await tracks.writer.apply(answer(verdicts), { requested: [DILATE, ERASER, FORRO], origin: SERVICE });
  const runId = await lastRun(tracks.sql);
  const them = await tracks.writer.session();
  await them.sql`begin`;
  await them.sql`select from wxyc_schema.library_identity where library_id = ${ERASER} for update`;
  await them.sql`select from wxyc_schema.library_identity_source where library_id = ${ERASER} for update`;
  await them.sql`select from wxyc_schema.compilation_track_artist for update`;

  expect(await undo(tracks.sql, runId, [DILATE])).toMatchObject({ identity: { removed: 1 } });
  await them.sql`rollback`;
});
