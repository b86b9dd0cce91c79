// The diff of a real run is read from what it kept: it needs neither its batches nor the rows as they are now.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { lastRun } from '../../support/undo.js';
import { DILATE, singleArtist, TUESDAY, useWriter } from '../../support/writer.js';

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
