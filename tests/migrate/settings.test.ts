// A role's or a database's defaults suit other sessions than those that migrate.
import { expect, onTestFinished, test } from 'vitest';
import { createProduction } from '../support/adoption.js';
import { cli, startCli } from '../support/cli.js';
import { type TestDatabase, useLogin } from '../support/database.js';

const owner = useLogin();

async function productionWith(...defaults: string[]): Promise<TestDatabase> {
  const database = await createProduction(owner, 10);
  onTestFinished(() => database.drop());
  for (const setting of defaults)
    await database.sql.unsafe(`alter role ${owner.name} in database ${database.name} set ${setting}`);
  return database;
}

const migrate = (database: TestDatabase) => cli(['migrate'], { DATABASE_URL: owner.into(database) });

test('a migration that takes longer than the login may is not stopped half-way', async () => {
  const database = await productionWith(
    'statement_timeout = 5000',
    'lock_timeout = 1',
    'idle_in_transaction_session_timeout = 5000',
    "default_transaction_isolation = 'serializable'",
    'default_transaction_deferrable = on',
  );
  await database.sql`
    create function public.dawdle() returns trigger language plpgsql set search_path = pg_catalog as
      'begin perform pg_sleep(6); return null; end'`;
  await database.sql`
    create trigger dawdle after update on wxyc_schema.library_identity
    for each statement execute function public.dawdle()`;
  const { status, stderr } = await migrate(database);
  expect([status, stderr]).toEqual([0, expect.stringContaining('is up to date')]);
});

test("a lock on the queue's own tables is waited for, however short the login's patience is", async () => {
  const database = await productionWith('lock_timeout = 1');
  expect(await migrate(database)).toMatchObject({ status: 0 });

  const { migrating } = await database.sql.begin(async (other) => {
    await other`lock table graphile_worker.migrations in access exclusive mode`;
    const migrating = startCli(['migrate'], { DATABASE_URL: owner.into(database) });
    await migrating.says('another session holds a lock on what is migrated');
    return { migrating };
  });
  expect((await migrating.ended).status).toBe(0);
});

test('a login that may only read by default is refused with the setting that cures it, before anything is changed', async () => {
  const database = await productionWith('default_transaction_read_only = on');
  const refused = await migrate(database);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(
    `it lacks: transactions that write: alter role ${owner.name} in database ${database.name} set default_transaction_read_only = off`,
  );
  expect(await database.sql`select from pg_namespace where nspname ~ 'identity_sync|graphile'`).toEqual([]);
});
