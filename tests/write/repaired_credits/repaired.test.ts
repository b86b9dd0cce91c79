// Which links a person has made through this service, and not in the librarian's own tools.
import { expect, test } from 'vitest';
import { FORRO, missed, track, useTracks } from '../../support/tracks.js';
import { REPAIR } from '../../support/writer.js';

const tracks = useTracks();

async function repaired() {
  const [row] = await tracks.sql<[{ ids: number[] }]>`
    select identity_sync_private.repaired_credits(array[${FORRO}]::integer[]) as ids`;
  return row.ids.sort();
}

test('those that a repair made, changed or took back, and no other', async () => {
  await tracks.artist('Luiz Gonzaga');
  const credit = (title: string, link = {}) => tracks.credit(FORRO, 'Luiz Gonzaga', title, link);
  const made = await credit('One');
  const taken = await credit('Two', { track_artist_link_method: 'lml_backfill' });
  await credit('Three', { track_artist_link_method: 'librarian' });
  await credit('Four');

  await tracks.apply(FORRO, [track('Luiz Gonzaga', 'Four')]);
  expect(await repaired()).toEqual([]);

  const said = [track('Luiz Gonzaga', 'One'), missed('Luiz Gonzaga', 'Two'), track('Luiz Gonzaga', 'Three')];
  await tracks.apply(FORRO, said, { origin: REPAIR });
  expect(await repaired()).toEqual([made, taken].sort());
});
