// LML's store of tracks fails open: where it could not be read, a compilation comes back as not visited. One whose tracks
// it has linked before is asked again as soon as a stale identity is, and not a month later.
import { beforeEach, expect, test } from 'vitest';
import { candidates } from '../../support/catalogue.js';
import { answer, FORRO, GYPSY, track, useTracks, visited, YOUTH } from '../../support/tracks.js';
import { compilation, REPAIR, SERVICE } from '../../support/writer.js';

const tracks = useTracks();
const { writer } = tracks;
const ASA = ['Asa Branca', 'Baião'] as const;
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
const ids = [FORRO, GYPSY, YOUTH];

/** What is said of these compilations, so many days ago. */
const says = (origin: string, days: number, ...results: ReturnType<typeof compilation>[]) =>
  writer.apply(answer(results), {
    requested: results.map((result) => result.library_id as number),
    origin,
    verifiedAt: daysAgo(days),
  });

const attempts = async () =>
  (await writer.attempts()).map(({ library_id, outcome }) => [library_id, outcome]);
const due = async (stale_days: number) =>
  (await candidates(writer.sql, { stale_days })).filter((id) => ids.includes(id));

beforeEach(async () => {
  for (const id of ids) await tracks.credit(id, ...ASA);
});

test('a compilation linked before is due after the days of a stale identity, any other after the retry window', async () => {
  await says(SERVICE, 60, visited(FORRO, [track(...ASA)]));
  await says(REPAIR, 60, visited(GYPSY, [track(...ASA)]));
  const report = await says(SERVICE, 8, ...ids.map((id) => compilation(id)));

  expect(report.rows_skipped.compilation).toBe(3);
  expect(await attempts()).toEqual([
    [FORRO, 'compilation_unread'],
    // A librarian's link is none of LML's.
    [GYPSY, 'compilation'],
    [YOUTH, 'compilation'],
  ]);
  expect(await due(9)).toEqual([]);
  expect(await due(7)).toEqual([FORRO]);
});

test('the next visit makes it a compilation like any other, and an older answer is no visit', async () => {
  await says(SERVICE, 60, visited(FORRO, [track(...ASA)]));
  await says(SERVICE, 8, compilation(FORRO));
  expect(await says(SERVICE, 9, visited(FORRO, [track(...ASA)]))).toMatchObject({
    rows_skipped: { stale_verdict: 1 },
  });
  expect(await attempts()).toEqual([[FORRO, 'compilation_unread']]);
  await says(SERVICE, 8, visited(FORRO, [track(...ASA)]));
  expect(await attempts()).toEqual([[FORRO, 'compilation']]);
  expect(await due(7)).not.toContain(FORRO);
});
