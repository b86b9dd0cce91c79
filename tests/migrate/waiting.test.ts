// Moving in while the station is on the air.
import { expect, onTestFinished, test } from 'vitest';
import { startCli } from '../support/cli.js';
import { connect, createDatabase } from '../support/database.js';
import { buildProduction } from '../support/production.js';

test('behind a long reader of the identities it waits in tries so short that no query queues behind it', async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  await buildProduction(connect(database.url), 1);
  const report = connect(database.url);
  await report.unsafe('begin; select from wxyc_schema.library_identity');

  const migrating = startCli(['migrate'], { DATABASE_URL: database.url });
  let waits = false;
  const saysThatItWaits = migrating.says('another session holds a lock on what is migrated').then(() => {
    waits = true;
  });
  // The station's own queries, one after another, until the first try is given up; none may wait for half a second.
  const station = connect(database.url);
  await station`set lock_timeout = '500ms'`;
  while (!waits) await station`select from wxyc_schema.library_identity where library_id = 1`;
  await saysThatItWaits;

  await report`commit`;
  expect(await migrating.ended).toMatchObject({ status: 0 });
  expect(await station`select discogs_artist_id from wxyc_schema.library_identity limit 1`).toHaveLength(1);
});
