// What a run did to track links is taken back, credit by credit.
import { expect, test } from 'vitest';
import { candidates } from '../../support/catalogue.js';
import { credits, FORRO, missed, track, useTracks } from '../../support/tracks.js';
import { lastRun, stored, undo } from '../../support/undo.js';
import { MONDAY, TUESDAY } from '../../support/writer.js';

const tracks = useTracks();

async function catalogue() {
  await tracks.artist('Marinês');
  await tracks.artist('Luiz Gonzaga');
  return [
    await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta'),
    await tracks.credit(FORRO, 'Luiz Gonzaga', 'Asa Branca', { track_position: 'A2' }),
    await tracks.credit(FORRO, 'Camarão', 'Forró na Baixada'),
  ] as const;
}

const first = [
  track('Marinês', 'Peba na Pimenta', { track_position: 'A1' }),
  track('Luiz Gonzaga', 'Asa Branca', { confidence: 0.9 }),
];

test('links that it made go, with the positions that it filled, and the compilation is due', async () => {
  await catalogue();
  const before = await stored(tracks.sql);
  await tracks.apply(FORRO, first, { verifiedAt: new Date() });
  expect(await candidates(tracks.sql)).not.toContain(FORRO);

  expect(await undo(tracks.sql, await lastRun(tracks.sql))).toMatchObject({
    compilation_track: { restored: 2 },
    marks_lifted: 1,
    newer: 0,
  });

  expect(await stored(tracks.sql)).toEqual(before);
  expect(await candidates(tracks.sql)).toContain(FORRO);
});

test('links that it changed or took back are as they were', async () => {
  await catalogue();
  await tracks.apply(FORRO, first, { verifiedAt: MONDAY });
  const before = await stored(tracks.sql);
  const second = [
    missed('Marinês', 'Peba na Pimenta'),
    track('Luiz Gonzaga', 'Asa Branca', { confidence: 0.7 }),
    track('Camarão', 'Forró na Baixada', { track_position: 'B1' }),
  ];
  await tracks.apply(FORRO, second, { verifiedAt: TUESDAY });

  expect(await undo(tracks.sql, await lastRun(tracks.sql))).toMatchObject({
    compilation_track: { restored: 3 },
  });

  expect(await stored(tracks.sql)).toEqual(before);
});

test('a credit that was changed since stays, and is counted: newer, or held where a librarian linked it', async () => {
  const [byBackend, byLibrarian, untouched] = await catalogue();
  await tracks.apply(FORRO, [...first, track('Camarão', 'Forró na Baixada')]);
  const runId = await lastRun(tracks.sql);
  await tracks.sql`
    update wxyc_schema.compilation_track_artist set track_position = 'Z9' where id = ${byBackend}`;
  await tracks.sql`
    update wxyc_schema.compilation_track_artist
    set track_artist_link_method = 'librarian' where id = ${byLibrarian}`;
  const before = await credits(tracks.sql);

  expect(await undo(tracks.sql, runId)).toMatchObject({
    compilation_track: { restored: 1 },
    newer: 1,
    held: 1,
  });

  const after = await credits(tracks.sql);
  expect(after.filter(({ id }) => id !== untouched)).toEqual(before.filter(({ id }) => id !== untouched));
  expect(await tracks.link(untouched)).toMatchObject({ track_artist_link_method: null });
});

test('a second time nothing changes, and undoing the undo links again', async () => {
  await catalogue();
  await tracks.apply(FORRO, first);
  const runId = await lastRun(tracks.sql);
  const linked = await stored(tracks.sql);
  const { run_id } = await undo(tracks.sql, runId);
  const before = await credits(tracks.sql);

  expect(await undo(tracks.sql, runId)).toMatchObject({
    compilation_track: { restored: 0 },
    newer: 0,
    held: 0,
  });
  expect(await credits(tracks.sql)).toEqual(before);

  await undo(tracks.sql, run_id as number);
  expect(await stored(tracks.sql)).toEqual(linked);
});

test('the links of a library that is held stay, and are counted as held', async () => {
  await catalogue();
  await tracks.apply(FORRO, first);
  const runId = await lastRun(tracks.sql);
  await tracks.sql`select identity_sync.hold_identity(${FORRO}, 'the librarian is at it')`;
  const before = await credits(tracks.sql);

  expect(await undo(tracks.sql, runId)).toMatchObject({ compilation_track: { restored: 0 }, held: 2 });
  expect(await credits(tracks.sql)).toEqual(before);
});

test('a run that linked nothing is undone without an update', async () => {
  await catalogue();
  await tracks.apply(FORRO, [missed('Marinês', 'Peba na Pimenta')]);
  const updates = await tracks.watchUpdates();
  await undo(tracks.sql, await lastRun(tracks.sql));
  expect(await updates()).toBe(0);
});
