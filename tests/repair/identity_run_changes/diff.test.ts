// What a run changed, old beside new, and what applying a dry run would change.
import { beforeEach, expect, test } from 'vitest';
import { answerOf, claim, plan, settle, shelveAll } from '../../support/catalogue.js';
import { connect } from '../../support/database.js';
import { FORRO, missed, track, useTracks } from '../../support/tracks.js';
import { changesOf, lastRun, stored, undo } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NOWHERE,
  SERVICE,
  singleArtist,
  TUESDAY,
  verdict,
  WEDNESDAY,
  withMain,
} from '../../support/writer.js';

const tracks = useTracks();

beforeEach(async () => {
  await tracks.sql`truncate identity_sync.run, identity_sync.batch cascade`;
});

const renamed = (id: number, discogs: number) =>
  withMain(
    singleArtist(id, {
      provenance: [leg('discogs', String(discogs)), leg('bandcamp', 'b')],
      confidence: 0.96,
    }),
    { discogs_artist_id: discogs, spotify_artist_id: null, bandcamp_id: 'b' },
  );

const short = (changes: Fields[]) =>
  changes.map(({ library_id, stored_row, column_name, old_value, new_value }) =>
    [library_id, stored_row, column_name, old_value, new_value].join('|'),
  );

const RENAMED = [
  `${DILATE}|identity|discogs_artist_id|11442|7`,
  `${DILATE}|source discogs|external_id|11442|7`,
  `${DILATE}|identity|bandcamp_id||b`,
  `${DILATE}|identity|spotify_id|0AiTwNtYX8m4uhfU7rJ8RD|`,
  `${DILATE}|source bandcamp|external_id||b`,
  `${DILATE}|source spotify|external_id|0AiTwNtYX8m4uhfU7rJ8RD|`,
  `${DILATE}|identity|confidence|0.97|0.96`,
  `${DILATE}|source bandcamp|confidence||1`,
  `${DILATE}|source bandcamp|method||exact_match`,
  `${DILATE}|source bandcamp|notes||${SERVICE}`,
  `${DILATE}|source spotify|confidence|0.95|`,
  `${DILATE}|source spotify|method|name_variation|`,
  `${DILATE}|source spotify|notes|${SERVICE}|`,
];

test('where no run is named, it is what the session has just done by hand, also before that is rolled back', async () => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE)]);
  const session = connect(writer.url);
  await expect(changesOf(session, null)).rejects.toMatchObject({ code: '55000' });
  await session`begin`;
  const undone = await undo(session, await lastRun(session));
  const changes = await changesOf(session, null);
  expect(changes).toEqual(await changesOf(session, String(undone.run_id)));
  expect(short(changes)).toContain(`${DILATE}|identity|discogs_artist_id|11442|`);
  await session`rollback`;
});

test('ids that name somebody else come first, then ids that come or go, then the rest', async () => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE)]);
  await writer.service([renamed(DILATE, 7)], { verifiedAt: TUESDAY });
  const runId = await lastRun(tracks.sql);

  const changes = await changesOf(tracks.sql, runId);
  expect(short(changes)).toEqual(RENAMED);
  expect(changes[0]).toMatchObject({ artist_name: 'Ani DiFranco', album_title: 'Dilate' });
});

test('it still says so after later runs and after the undo', async () => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE)]);
  const first = await lastRun(tracks.sql);
  const inserted = short(await changesOf(tracks.sql, first));
  expect(inserted).toContain(`${DILATE}|source spotify|external_id||0AiTwNtYX8m4uhfU7rJ8RD`);
  await writer.service([renamed(DILATE, 7)], { verifiedAt: TUESDAY });
  const runId = await lastRun(tracks.sql);
  await undo(tracks.sql, runId);
  expect(short(await changesOf(tracks.sql, runId))).toEqual(RENAMED);
  await writer.service([renamed(DILATE, 9)], { verifiedAt: WEDNESDAY });

  expect(short(await changesOf(tracks.sql, runId))).toEqual(RENAMED);
  expect(short(await changesOf(tracks.sql, first))).toEqual(inserted);
});

test('an undo shows what it took back', async () => {
  const { writer } = tracks;
  await writer.service([singleArtist(DILATE)]);
  await writer.service([renamed(DILATE, 7)], { verifiedAt: TUESDAY });
  const { run_id } = await undo(tracks.sql, await lastRun(tracks.sql));

  const changes = short(await changesOf(tracks.sql, String(run_id)));
  expect(changes).toHaveLength(RENAMED.length);
  expect(changes[0]).toBe(`${DILATE}|identity|discogs_artist_id|7|11442`);
});

test('track links are shown by their credit', async () => {
  const artist = await tracks.artist('Marinês');
  const credit = await tracks.credit(FORRO, 'Marinês', 'Peba na Pimenta');
  await tracks.apply(FORRO, [track('Marinês', 'Peba na Pimenta', { track_position: 'A1' })], {
    verifiedAt: MONDAY,
  });
  const linked = await lastRun(tracks.sql);
  await tracks.apply(FORRO, [missed('Marinês', 'Peba na Pimenta')], { verifiedAt: TUESDAY });

  expect(short(await changesOf(tracks.sql, linked))).toEqual([
    `${FORRO}|track ${credit}|track_artist_id||${artist}`,
    `${FORRO}|track ${credit}|track_artist_link_confidence||1`,
    `${FORRO}|track ${credit}|track_artist_link_method||lml_backfill`,
    `${FORRO}|track ${credit}|track_position||A1`,
  ]);
  expect(short(await changesOf(tracks.sql, await lastRun(tracks.sql)))).toEqual([
    `${FORRO}|track ${credit}|track_artist_id|${artist}|`,
    `${FORRO}|track ${credit}|track_artist_link_confidence|1|`,
    `${FORRO}|track ${credit}|track_artist_link_method|lml_backfill|`,
  ]);
});

test('what a run only confirmed is no change', async () => {
  await tracks.writer.service([singleArtist(ERASER)]);
  await tracks.writer.service([singleArtist(ERASER)], { verifiedAt: TUESDAY });
  expect(await changesOf(tracks.sql, await lastRun(tracks.sql))).toEqual([]);
});

test('of a dry run it shows what applying it would change, and writes nothing', async () => {
  const ids = await shelveAll(tracks.sql, 'Stereolab', 'Broadcast');
  const runId = await plan(tracks.sql, { scope: 'ids', ids, dry_run: true });
  const { batch_id } = await claim(tracks.sql, runId);
  const body = answerOf([verdict.resolved(ids[0], 1489), verdict.unresolved(ids[1])]);
  await settle(tracks.sql, batch_id, { body });
  const before = await stored(tracks.sql);

  const foretold = await changesOf(tracks.sql, runId);

  expect(await stored(tracks.sql)).toEqual(before);
  expect(await lastRun(tracks.sql)).toBe(runId);
  expect(foretold[0]).toEqual({
    library_id: ids[0],
    artist_name: 'Stereolab',
    album_title: 'Untitled',
    stored_row: 'identity',
    column_name: 'discogs_artist_id',
    old_value: null,
    new_value: '1489',
  });
  await tracks.sql`select identity_sync.apply_identity_preview(${runId})`;
  expect(await changesOf(tracks.sql, await lastRun(tracks.sql))).toEqual(foretold);
});

test('an unknown run is an error', async () => {
  await expect(changesOf(tracks.sql, String(NOWHERE))).rejects.toMatchObject({ code: 'LS002' });
});
