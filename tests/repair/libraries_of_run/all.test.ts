// All that undoing a run may touch is held at once: identities, sources, track links and marks.
import { expect, test } from 'vitest';
import { answer, FORRO, track, useTracks, visited } from '../../support/tracks.js';
import { lastRun, undo } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  SANGOMA,
  SERVICE,
  singleArtist,
  unresolved,
  untilBlocked,
} from '../../support/writer.js';

const tracks = useTracks();

test('each library counts once, and those of other runs do not count', async () => {
  await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta');
  await tracks.writer.service([singleArtist(SANGOMA)]);
  const verdicts = [
    singleArtist(DILATE),
    unresolved(ERASER),
    visited(FORRO, [track('Marinês', 'Peba na Pimenta')]),
  ];
  await tracks.writer.apply(answer(verdicts), { requested: [DILATE, ERASER, FORRO], origin: SERVICE });

  const rows = await tracks.sql`
    select listed as id
    from identity_sync_private.libraries_of_run(${await lastRun(tracks.sql)}) as listed order by id`;
  expect(rows.map(({ id }) => id)).toEqual([DILATE, ERASER, FORRO].sort((one, other) => one - other));
});

test('an undo waits for a session that writes one of them, and then leaves what that wrote', async () => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE), singleArtist(ERASER)]);
  const runId = await lastRun(tracks.sql);
  const [them, us] = [await writer.session(), await writer.session()];
  await them.sql`begin`;
  await them.sql`select identity_sync.release_identity(${DILATE}, 'the wrong band')`;
  const undone = undo(us.sql, runId);
  await untilBlocked(tracks.sql, us);
  await them.sql`commit`;

  expect(await undone).toMatchObject({ identity: { removed: 1 }, newer: 1 });
});
