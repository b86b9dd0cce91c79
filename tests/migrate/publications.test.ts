// Production is replicated to developers. What migrating makes, their databases lack.
import type postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { plan } from '../support/catalogue.js';
import { cli, killLeftovers } from '../support/cli.js';
import { connect, postgresVersion } from '../support/database.js';
import { buildProduction, STEREOLAB } from '../support/production.js';

let server: EmbeddedPostgres;
let admin: postgres.Sql;
let station: { url: string; sql: postgres.Sql };

beforeAll(async () => {
  const settings = { fsync: 'off', wal_level: 'logical', max_logical_replication_workers: '8' };
  server = await startEmbeddedPostgres({ version: postgresVersion === 14 ? 14 : 18, settings });
  admin = connect(server.url);
});
afterAll(async () => {
  await admin.end();
  await server.stop();
});
beforeEach(async () => {
  station = await stationDatabase('station');
});
afterEach(async () => {
  await killLeftovers();
  await station.sql`select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active`;
  await drop('station');
});

const publish = (what: string) => station.sql.unsafe(`create publication shared ${what}`);
const addSlot = () => station.sql`select pg_create_logical_replication_slot('dev_clone', 'pgoutput')`;
const migrate = (url: string, ...flags: string[]) => cli(['migrate', ...flags], { DATABASE_URL: url });
const schemas = () => station.sql`select from pg_namespace where nspname ~ 'identity_sync|graphile'`;

const OF_A_SCHEMA = [
  "of the station's schema",
  'for tables in schema wxyc_schema',
  'publication shared is FOR TABLES IN SCHEMA wxyc_schema',
];

describe('before anything is changed', () => {
  const since15 = postgresVersion >= 15;
  test.each([
    ['of all tables', 'for all tables', 'publication shared is FOR ALL TABLES'],
    [
      'of a table that gets columns',
      'for table wxyc_schema.library_identity',
      'publication shared has wxyc_schema.library_identity',
    ],
    ...(since15 ? [OF_A_SCHEMA] : []),
  ])(
    'a publication %s that somebody follows is named, with its slot and what to do',
    async (_, what, named) => {
      await publish(what);
      await addSlot();
      const refused = await migrate(station.url);

      expect(refused).toMatchObject({ status: 1, stdout: '' });
      expect(refused.stderr).toContain(named);
      expect(refused.stderr).toContain('slot dev_clone (not active)');
      expect(refused.stderr).toContain('--publications-are-seen-to');
      expect(refused.stderr).toContain('Nothing was changed.');
      expect(await schemas()).toEqual([]);
    },
  );

  test('the operator who has seen to it goes on, and the next migrate finds nothing to refuse', async () => {
    await publish('for all tables');
    await addSlot();
    expect(await migrate(station.url, '--publications-are-seen-to')).toMatchObject({ status: 0 });
    expect(await migrate(station.url)).toMatchObject({ status: 0 });
  });

  test.each([
    ['that no slot follows', 'for all tables', false],
    ['of tables that stay as they are', 'for table wxyc_schema.library, wxyc_schema.artists', true],
  ])('a publication %s is no reason to refuse', async (_, what, followed) => {
    await publish(what);
    if (followed) await addSlot();
    expect(await migrate(station.url)).toMatchObject({ status: 0 });
  });

  test.runIf(since15)('one that names columns publishes no new ones, and is no reason either', async () => {
    await publish('for table wxyc_schema.library_identity (library_id)');
    await addSlot();
    expect(await migrate(station.url)).toMatchObject({ status: 0 });
  });
});

test('a subscriber that lacks the tables stops, goes on once it is migrated, and stays in step', async () => {
  const clone = await stationDatabase('clone');
  const arrives = (id: number) =>
    clone.sql`select from wxyc_schema.library_identity where discogs_artist_id = ${id}`;
  const change = (id: number) =>
    station.sql`update wxyc_schema.library_identity set discogs_artist_id = ${id} where library_id = ${STEREOLAB}`;
  await publish('for all tables');
  await addSlot();
  await clone.sql.unsafe(`
    create subscription dev_clone connection '${station.url}' publication shared
    with (create_slot = false, copy_data = false)`);
  try {
    const sender = () =>
      admin`select from pg_stat_activity where application_name = 'dev_clone' and backend_type = 'walsender'`;
    await expect.poll(sender).toHaveLength(1);
    expect(await migrate(station.url, '--publications-are-seen-to')).toMatchObject({ status: 0 });
    await expect.poll(sender).toHaveLength(0);

    expect(await migrate(clone.url)).toMatchObject({ status: 0 });
    await change(41);
    await expect.poll(() => arrives(41)).toHaveLength(1);
    // What is made here is not theirs: no row of it is carried over.
    await plan(station.sql, { scope: 'refresh' });
    await change(42);
    await expect.poll(() => arrives(42)).toHaveLength(1);
    expect(await clone.sql`select from identity_sync.run`).toHaveLength(0);
  } finally {
    await clone.sql`alter subscription dev_clone disable`;
    await clone.sql`alter subscription dev_clone set (slot_name = none)`;
    await clone.sql`drop subscription dev_clone`;
    await drop('clone');
  }
});

/** Production as it is before the product comes. */
async function stationDatabase(name: string) {
  await admin.unsafe(`create database ${name}`);
  const url = Object.assign(new URL(server.url), { pathname: name }).href;
  const sql = connect(url);
  await buildProduction(sql, 1);
  return { url, sql };
}

async function drop(name: string) {
  await admin.unsafe(`drop database ${name} with (force)`);
}
