// All that undoing a run may touch is held at once: identities, sources, track links and marks.
import { expect, test } from 'vitest';
import { answer, FORRO, GYPSY, track, useTracks, visited } from '../../support/tracks.js';
import { lastRun, undo } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  MONDAY,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  untilBlocked,
  WEDNESDAY,
} from '../../support/writer.js';

const tracks = useTracks();

async function librariesOf(runId: string) {
  const rows = await tracks.sql`
    select listed as id from identity_sync_private.libraries_of_run(${runId}) as listed order by id`;
  return rows.map(({ id }) => id);
}

test('each library counts once, and those of other runs do not count', async () => {
  await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta');
  await tracks.writer.service([singleArtist(SANGOMA)]);
  const verdicts = [
    singleArtist(DILATE),
    unresolved(ERASER),
    visited(FORRO, [track('Marinês', 'Peba na Pimenta')]),
  ];
  await tracks.writer.apply(answer(verdicts), { requested: [DILATE, ERASER, FORRO], origin: SERVICE });

  const expected = [DILATE, ERASER, FORRO].sort((one, other) => one - other);
  expect(await librariesOf(await lastRun(tracks.sql))).toEqual(expected);
});

test('a compilation counts for each run that linked it, also where a later run left its mark', async () => {
  await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta');
  await tracks.credit(GYPSY, 'Николай Сличенко', null);
  const link = async (confidence: number, verifiedAt: Date) => {
    await tracks.apply(FORRO, [track('Marinês', 'Peba na Pimenta', { confidence })], { verifiedAt });
    return lastRun(tracks.sql);
  };
  const linked = await link(0.9, MONDAY);
  const changed = await link(0.8, TUESDAY);
  await link(0.8, WEDNESDAY);

  expect([await librariesOf(linked), await librariesOf(changed)]).toEqual([[FORRO], [FORRO]]);
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
