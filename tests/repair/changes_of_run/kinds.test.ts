// The diff of a real run is read from what it kept: it needs neither its batches nor the rows as they are now.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { lastRun } from '../../support/undo.js';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

test('a row that somebody deleted since shows what it was, and nothing beside it', async () => {
  await writer.service([singleArtist(DILATE)]);
  await writer.service([singleArtist(DILATE, { confidence: 0.96 })], { verifiedAt: TUESDAY });
  const runId = await lastRun(writer.sql);
  await writer.sql`delete from wxyc_schema.library_identity`;

  const rows = await writer.sql`
    select column_name, old_value, new_value from identity_sync_private.changes_of_run(${runId})
    where column_name = 'confidence'`;
  expect(rows).toMatchObject([{ column_name: 'confidence', old_value: '0.97', new_value: null }]);
});

test('a release is shown as what went', async () => {
  await writer.service([singleArtist(DILATE)]);
  await call(writer.sql, 'release_identity', { library_id: DILATE, reason: 'the wrong band' });

  const rows = await writer.sql`
    select stored_row, old_value, new_value
    from identity_sync_private.changes_of_run(${await lastRun(writer.sql)})
    where column_name in ('discogs_artist_id', 'external_id') order by stored_row`;
  expect(rows).toMatchObject([
    { stored_row: 'identity', old_value: '11442', new_value: null },
    { stored_row: 'source discogs', old_value: '11442', new_value: null },
    { stored_row: 'source spotify', new_value: null },
  ]);
});

const station = (id: number, source: string, notes = 'station') => writer.sql`
  insert into wxyc_schema.library_identity_source
    (library_id, source, external_id, method, confidence, last_verified_at, notes)
  values (${id}, ${source}, ${source}, 'manual', 1, ${notes === SERVICE ? WEDNESDAY : TUESDAY}, ${notes})`;

test('it says the same after later runs, and after another writer who kept what the row was', async () => {
  await writer.service([singleArtist(DILATE)]);
  await station(ERASER, 'discogs');
  await station(ERASER, 'wikidata');
  const unnamed = singleArtist(DILATE, { provenance: [leg('discogs', '11442')] });
  await writer.service([unnamed, singleArtist(ERASER)], { verifiedAt: TUESDAY });
  const runId = await lastRun(writer.sql);
  const changes = async () => [
    ...(await writer.sql`
      select library_id, stored_row, column_name, old_value, new_value
      from identity_sync_private.changes_of_run(${runId}) order by 1, 2, 3`),
  ];
  const before = await changes();
  const isId = ({ column_name }: Fields) => ['spotify_id', 'external_id'].includes(column_name as string);
  expect(before.filter(isId)).toMatchObject([
    { library_id: DILATE, stored_row: 'source spotify', new_value: null },
    { library_id: ERASER, stored_row: 'identity', old_value: null },
    { library_id: ERASER, stored_row: 'source discogs', old_value: 'discogs', new_value: '4854' },
    { library_id: ERASER, stored_row: 'source spotify', old_value: null },
  ]);

  await station(ERASER, 'bandcamp', SERVICE);
  await writer.sql`
    insert into wxyc_schema.library_identity_history (
      library_id, discogs_artist_id, spotify_id, last_verified_at, method, confidence, notes, superseded_reason
    )
    select library_id, discogs_artist_id, spotify_id, last_verified_at, method, confidence, notes, 'by the station'
    from wxyc_schema.library_identity where library_id = ${ERASER}`;
  await writer.sql`update wxyc_schema.library_identity set spotify_id = 'x' where library_id = ${ERASER}`;
  await writer.service([singleArtist(DILATE)], { verifiedAt: WEDNESDAY });

  expect(await changes()).toEqual(before);
});

test('between two other runs it shows what this one made of the row, and of a first run what is there', async () => {
  const valuesOf = async (runId: string, column: string) => {
    const rows = await writer.sql`
      select old_value, new_value from identity_sync_private.changes_of_run(${runId})
      where column_name = ${column} order by stored_row`;
    return rows.map(({ old_value, new_value }) => [old_value, new_value]);
  };
  const runs: string[] = [];
  for (const [confidence, verifiedAt] of [
    [0.97, MONDAY],
    [0.96, TUESDAY],
    [0.95, WEDNESDAY],
  ] as const) {
    await writer.service([singleArtist(DILATE, { confidence })], { verifiedAt });
    runs.push(await lastRun(writer.sql));
  }
  expect(await valuesOf(runs[1]!, 'confidence')).toEqual([['0.97', '0.96']]);
  expect(await valuesOf(runs[2]!, 'confidence')).toEqual([['0.96', '0.95']]);
  expect(await valuesOf(runs[0]!, 'external_id')).toEqual([
    [null, '11442'],
    [null, '0AiTwNtYX8m4uhfU7rJ8RD'],
  ]);
});
