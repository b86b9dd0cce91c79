// What a person says of a track holds like a librarian's link: no answer of the service touches it again.
import { expect, test } from 'vitest';
import { counted, FORRO, LINKED, missed, track, UNLINKED, useTracks } from '../../support/tracks.js';
import { MONDAY, REPAIR, TUESDAY, WEDNESDAY } from '../../support/writer.js';

const tracks = useTracks();

const SWEET = ['Luiz Gonzaga', 'O Fole Roncou'] as const;
const BY_HAND = { track_artist_link_confidence: 1, track_artist_link_method: 'librarian' };

const repair = (said: unknown[]) => tracks.apply(FORRO, said, { origin: REPAIR, verifiedAt: TUESDAY });
const nextNight = (said: unknown[]) => tracks.apply(FORRO, said, { verifiedAt: WEDNESDAY });

test('a link that a repair corrects is there the next night', async () => {
  const [right, wrong] = [await tracks.artist('Gonzaguinha'), await tracks.artist('Luiz Gonzaga')];
  const credit = await tracks.credit(FORRO, ...SWEET);
  await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });
  expect(await tracks.link(credit)).toEqual({ ...LINKED, track_artist_id: wrong });

  expect(await repair([track(...SWEET, { resolved_artist_name: 'Gonzaguinha' })])).toEqual({ written: 1 });

  expect(await nextNight([track(...SWEET)])).toEqual({ librarian: 1 });
  expect(await tracks.link(credit)).toEqual({ ...BY_HAND, track_artist_id: right });
});

test('a link that a repair only confirms holds, too, and as it was it is kept', async () => {
  const artist = await tracks.artist('Luiz Gonzaga');
  const credit = await tracks.credit(FORRO, ...SWEET);
  await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });

  expect(await repair([track(...SWEET)])).toEqual({ written: 1 });

  expect(await tracks.link(credit)).toEqual({ ...BY_HAND, track_artist_id: artist });
  expect(await tracks.superseded()).toEqual([
    {
      credit_id: credit,
      library_id: FORRO,
      action: 'changed',
      ...LINKED,
      track_artist_id: artist,
      track_position: null,
    },
  ]);
});

test('a link that a repair takes back stays away', async () => {
  await tracks.artist('Luiz Gonzaga');
  const credit = await tracks.credit(FORRO, ...SWEET);
  await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });

  expect(await repair([missed(...SWEET)])).toEqual({ unlinked: 1 });

  expect(await nextNight([track(...SWEET)])).toEqual({ librarian: 1 });
  expect(await tracks.link(credit)).toEqual({ ...UNLINKED, track_artist_link_method: 'librarian' });
});

test.each([
  ['who it is', track(...SWEET)],
  ['that it is none', missed(...SWEET)],
])('a second repair that says the same touches nothing: %s', async (_what, said) => {
  await tracks.artist('Luiz Gonzaga');
  await tracks.credit(FORRO, ...SWEET);
  await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });
  await repair([said]);
  const updates = await tracks.watchUpdates();

  expect(counted(await repair([said]))).toEqual({ librarian: 1 });

  expect(await updates()).toBe(0);
});

test.each([
  ['names another artist', track(...SWEET, { resolved_artist_name: 'Gonzaguinha' }), { written: 1 }],
  ['takes the link back', missed(...SWEET), { unlinked: 1 }],
])('a later repair that %s corrects an earlier one', async (_what, said, counts) => {
  const [wrong, right] = [await tracks.artist('Luiz Gonzaga'), await tracks.artist('Gonzaguinha')];
  const credit = await tracks.credit(FORRO, ...SWEET);
  await repair([track(...SWEET)]);
  expect(await tracks.link(credit)).toEqual({ ...BY_HAND, track_artist_id: wrong });

  expect(await repair([said])).toEqual(counts);

  const link = 'written' in counts ? { ...BY_HAND, track_artist_id: right } : { ...UNLINKED };
  expect(await tracks.link(credit)).toEqual({ ...link, track_artist_link_method: 'librarian' });
  expect(await tracks.superseded()).toMatchObject([{ ...BY_HAND, track_artist_id: wrong }]);
  // And once more, where the earlier repair replaced a link.
  expect(await repair([track(...SWEET)])).toEqual({ written: 1 });
  expect(await tracks.link(credit)).toEqual({ ...BY_HAND, track_artist_id: wrong });
});

test('a link that a repair takes back leaves the position as it is', async () => {
  await tracks.artist('Luiz Gonzaga');
  const credit = await tracks.credit(FORRO, ...SWEET);
  await tracks.apply(FORRO, [track(...SWEET)], { verifiedAt: MONDAY });
  expect(await repair([missed(...SWEET, { track_position: '7' })])).toEqual({ unlinked: 1 });
  expect(await tracks.position(credit)).toBeNull();
});
