// What a run needs of its database and its login is looked at before it is missed, and each fault names its cure.
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { connect, useDatabase, useLogin } from '../../support/database.js';
import { useRoles } from '../../support/roles.js';

const roles = useRoles();
const [reader, worker, operator] = [useLogin(), useLogin(), useLogin()];
const database = useDatabase();

interface Check {
  check: string;
  status: string;
  message: string;
  cure: string | null;
}

/** What is not well, by its name. */
async function faults(
  sql: postgres.ISql = database.sql,
  args: Record<string, unknown> = {},
): Promise<Record<string, Omit<Check, 'check'>>> {
  const rows = await database.sql`select hash from graphile_migrate.migrations`;
  const [row] = await call<{ identity_check: Check[] }>(sql, 'identity_check', {
    known: rows.map(({ hash }) => hash),
    ...args,
  });
  const bad = row!.identity_check.filter(({ status }) => status !== 'ok');
  return Object.fromEntries(bad.map(({ check, ...rest }) => [check, rest]));
}

test('a session that does not leave the machine needs no TLS, and says so', async () => {
  const [row] = await call<{ identity_check: Check[] }>(database.sql, 'identity_check', { known: [] });
  const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(database.url).hostname);
  expect(row!.identity_check.find(({ check }) => check === 'TLS')).toMatchObject(
    isLocal ? { status: 'ok', message: 'none, and none needed on one machine' } : { status: 'warn' },
  );
});

test('nothing is wrong with a migrated database and the login of a worker', async () => {
  await roles.run(database.url, { reader: reader.name, worker: worker.name });
  expect(await faults()).toEqual({});
  expect(await faults(connect(worker.into(database)))).toEqual({});
});

test('a login that may neither run nor repair is told which role it lacks', async () => {
  await roles.run(database.url, { reader: reader.name });
  const found = await faults(connect(reader.into(database)));
  expect(found.login).toMatchObject({
    status: 'fail',
    message: `${reader.name} may not run: it is no worker`,
    cure: expect.stringContaining(`-v worker=${reader.name} -f sql/roles.sql`),
  });
});

test("no cure would give an operator's login the role of a worker", async () => {
  await roles.run(database.url, { operator: operator.name });
  const sql = connect(operator.into(database));
  await sql`set statement_timeout = '5s'`;
  expect((await faults(sql)).session!.cure).toContain(`-v operator=${operator.name} -f sql/roles.sql`);
});

test('a worker to whom the queue is closed is told what it is closed to', async () => {
  await roles.run(database.url, { worker: worker.name });
  await database.sql.unsafe(`revoke all on graphile_worker._private_jobs from ${roles.worker}`);
  expect((await faults(connect(worker.into(database)))).queue).toMatchObject({
    status: 'fail',
    message: expect.stringContaining('closed to this login: _private_'),
  });
});

test('a login that repairs is fit for that, without a queue and without LML; a worker needs both', async () => {
  await roles.run(database.url, { operator: operator.name, worker: worker.name });
  const known = (await database.sql`select hash from graphile_migrate.migrations`).map(({ hash }) => hash);
  const [row] = await call<{ identity_check: Check[] }>(connect(operator.into(database)), 'identity_check', {
    known,
    has_lml: false,
  });
  const said = Object.fromEntries(
    row!.identity_check.map(({ check, status, message }) => [check, `${status}: ${message}`]),
  );
  expect(said).toMatchObject({
    login: `ok: ${operator.name} may repair, not run: it is no worker`,
    queue: 'ok: not needed by this login',
    LML: 'ok: LIBRARY_METADATA_URL is not set, and only a run needs it',
  });
  expect(Object.values(said).filter((line) => !line.startsWith('ok'))).toEqual([]);
  expect(await faults(connect(worker.into(database)), { has_lml: false })).toEqual({
    LML: {
      status: 'fail',
      message: 'LIBRARY_METADATA_URL is not set',
      cure: 'LIBRARY_METADATA_URL says where LML is.',
    },
  });
});

test('a login is a worker by each function that a run needs, and by no other', async () => {
  const { sql } = database;
  await roles.run(database.url, { reader: reader.name, worker: worker.name });
  await sql`create function identity_sync.plan_nothing() returns integer return 1`;
  const bystander = (await faults(connect(reader.into(database)))).login;
  await sql`drop function identity_sync.plan_nothing()`;
  expect(bystander).toMatchObject({ status: 'fail' });

  // As a migrate leaves it that makes a function anew.
  await sql`
    revoke execute on function identity_sync.finish_identity_call(
      bigint, text, integer, text, text, integer, text, integer
    ) from ${sql(roles.worker)}`;
  expect((await faults(connect(worker.into(database)))).login).toMatchObject({ status: 'fail' });
  await roles.run(database.url);
  expect(await faults(connect(worker.into(database)))).toEqual({});
});

test('other migrations, a lost column and a hold are named', async () => {
  const { sql } = database;
  await sql`alter table wxyc_schema.library_identity rename bandcamp_id to gone`;
  await call(sql, 'pause_identity_planning', { reason: 'LML moves' });
  expect(await faults(sql, { known: ['sha1:of-tomorrow'] })).toMatchObject({
    schema: {
      status: 'fail',
      message: expect.stringContaining('newer than this program: it has 000001'),
      cure: 'Deploy the version of identity-sync that made these migrations, or a newer one.',
    },
    columns: { status: 'fail', message: 'wxyc_schema lacks library_identity.bandcamp_id' },
    planning: { status: 'warn', cure: expect.stringContaining('identity-sync resume paused') },
  });
  await sql`alter table wxyc_schema.library_identity rename gone to bandcamp_id`;
  await call(sql, 'resume_identity_planning');

  const rows = await sql`select hash from graphile_migrate.migrations`;
  const known = [...rows.map(({ hash }) => hash as string), 'sha1:of-tomorrow'];
  expect(await faults(sql, { known })).toMatchObject({
    schema: {
      status: 'fail',
      message: 'older than this program: it lacks 1 of its migrations',
      cure: 'identity-sync migrate as its owner, then sql/roles.sql.',
    },
  });
});

test('a clock that is wrong is a warning, with how much', async () => {
  const anHourAgo = new Date(Date.now() - 3_600_000);
  expect(await faults(database.sql, { asked_at: anHourAgo })).toMatchObject({
    clock: { status: 'warn', message: expect.stringMatching(/^36\d\d s ahead of ours$/) },
  });
  const inAnHour = new Date(Date.now() + 3_600_000);
  expect(await faults(database.sql, { asked_at: inAnHour })).toMatchObject({
    clock: { status: 'warn', message: expect.stringMatching(/^3[56]\d\d s behind ours$/) },
  });
});

test.each([
  ['default_transaction_read_only', 'on', 'database', 'fail'],
  ['statement_timeout', '5s', 'session', 'warn'],
  ['default_transaction_isolation', 'serializable', 'session', 'warn'],
])('a session with %s = %s does not suit a run', async (name, value, check, status) => {
  const sql = connect(database.url);
  await sql.unsafe(`set ${name} = '${value}'`);
  expect(await faults(sql)).toMatchObject({ [check]: { status, cure: expect.any(String) } });
});
