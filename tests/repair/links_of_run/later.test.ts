// What a run did to links is told from what became of them since.
import { expect, test } from 'vitest';
import { FORRO, track, useTracks } from '../../support/tracks.js';
import { changesOf, lastRun, undo } from '../../support/undo.js';
import { MONDAY, TUESDAY } from '../../support/writer.js';

const tracks = useTracks();

test('a link that was changed and undone since shows what this run made of it', async () => {
  await tracks.artist('Marinês');
  await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta', { track_position: 'A1' });
  await tracks.apply(FORRO, [track('Marinês', 'Peba na Pimenta')], { verifiedAt: MONDAY });
  const first = await lastRun(tracks.sql);
  const before = await changesOf(tracks.sql, first);
  expect(before.map(({ column_name }) => column_name)).not.toContain('track_position');
  const weaker = track('Marinês', 'Peba na Pimenta', { confidence: 0.7 });
  await tracks.apply(FORRO, [weaker], { verifiedAt: TUESDAY });
  const second = await lastRun(tracks.sql);
  await undo(tracks.sql, second);

  expect(await changesOf(tracks.sql, first)).toEqual(before);
  expect(await changesOf(tracks.sql, second)).toMatchObject([
    { column_name: 'track_artist_link_confidence', old_value: '1', new_value: '0.7' },
  ]);
});
