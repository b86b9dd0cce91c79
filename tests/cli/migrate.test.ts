// `identity-sync migrate`, on the station's database as it is before the service moves in.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadCatalogue } from '../../src/demo/catalogue.js';
import { loadIdentities, startStandIn } from '../../src/demo/stand-in.js';
import { cli, killLeftovers, logOf } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;

beforeEach(async () => {
  database = await cloneDatabase();
  await database.sql`drop schema identity_sync, identity_sync_private, graphile_worker, graphile_migrate, wxyc_schema cascade`;
  await loadCatalogue(database.sql, { rows: 40 });
});
afterEach(async () => {
  await killLeftovers();
  await database.drop();
});

test('brings it up to date, says so, and a run finds everything that it needs', async () => {
  const migrated = await migrate();
  expect(migrated).toMatchObject({ status: 0, stdout: '' });
  expect(logOf(migrated).at(-1)).toMatchObject({
    step: 'migrate',
    msg: 'the database is up to date; what is new gets its grants by psql "$DBA_URL" -f sql/roles.sql',
  });

  const lml = await startStandIn({ identities: loadIdentities() });
  const ran = await cli(['run'], { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url });
  await lml.close();
  expect(ran.status).toBe(0);
  expect(JSON.parse(ran.stdout)).toMatchObject({ scanned: 40, outcome: 'completed' });
});

test('a second time finds nothing to do', async () => {
  await migrate();
  const before = await definitions();
  expect(await migrate()).toMatchObject({ status: 0 });
  expect(await definitions()).toEqual(before);
});

test('twice at once does it once: the second deployer waits for the first', async () => {
  expect(await Promise.all([migrate(), migrate()])).toMatchObject([{ status: 0 }, { status: 0 }]);
  const committed =
    await database.sql`select filename, count(*)::integer from graphile_migrate.migrations group by 1`;
  expect(committed.length).toBeGreaterThan(0);
  for (const migration of committed) expect(migration.count).toBe(1);
});

const migrate = () => cli(['migrate'], { DATABASE_URL: database.url });

/** Every object that was made or replaced, by the transaction that did it. */
async function definitions() {
  const rows = await database.sql`
    select oid::regprocedure::text as name, xmin::text from pg_proc where pronamespace > 16383
    union all select oid::regclass::text, xmin::text from pg_class where relnamespace > 16383 order by 1`;
  return rows.map((row) => ({ ...row }));
}
