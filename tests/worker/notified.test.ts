// graphile-worker ends where it is told of a migration that it does not know. Any login may tell it so.
import { expect } from 'vitest';
import { plan } from '../support/catalogue.js';
import { connect, type TestDatabase, useLogin } from '../support/database.js';
import { runOf, shelveMany } from '../support/faults.js';
import { test } from '../support/test.js';

const stranger = useLogin();

async function tellOfMigration({ sql }: TestDatabase, url: string) {
  const listening = () =>
    sql`select from pg_stat_activity where datname = current_database() and query like 'LISTEN %' and state = 'idle'`;
  await expect.poll(listening, { timeout: 60_000 }).toHaveLength(1);
  await connect(url)`select pg_notify('worker:migrate', '{"breaking":true,"migrationNumber":999999}')`;
}

test('a worker that is told of a migration which was never made goes on', async ({ database, cli }) => {
  const worker = await cli.worker();
  await tellOfMigration(database, stranger.into(database));
  await shelveMany(database.sql, 1);
  await plan(database.sql);
  await expect.poll(async () => (await runOf(database.sql)).outcome, { timeout: 60_000 }).toBe('completed');
  worker.signal('SIGTERM');
  expect(await worker.endsWithin(20_000)).toMatchObject({ status: 0 });
});

test('a worker that is told of one which was made ends', async ({ database, cli }) => {
  const worker = await cli.worker();
  await database.sql`insert into graphile_worker.migrations (id, breaking) values (999999, true)`;
  await tellOfMigration(database, database.url);
  expect(await worker.endsWithin(30_000)).toMatchObject({ status: 1 });
});
