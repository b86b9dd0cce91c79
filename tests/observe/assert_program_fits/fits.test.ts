// A program that meets another database than it was made for says so before it works, with what cures it.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { connect, useDatabase, useLogin } from '../../support/database.js';
import { useRoles } from '../../support/roles.js';

const roles = useRoles();
const [reader, operator, worker] = [useLogin(), useLogin(), useLogin()];
const database = useDatabase();

async function refusal(known: string[], calls: string[] = [], url = database.url) {
  const fits = call(connect(url), 'assert_program_fits', { known, calls });
  return await fits.then(
    () => null,
    ({ code, message, hint }) => ({ code, message, hint }),
  );
}

async function seen(): Promise<string[]> {
  const rows = await database.sql`select hash from graphile_migrate.migrations`;
  return rows.map((row) => row.hash as string);
}

test('a program and a database of the same migrations fit', async () => {
  expect(await refusal(await seen(), ['plan_identity_run'])).toBeNull();
});

test('a database that is newer names its migrations, and one that is older says how many it lacks', async () => {
  const [first, ...rest] = await seen();
  expect(await refusal(rest)).toEqual({
    code: 'LS005',
    message: expect.stringMatching(/^the database \w+ is newer than this program: it has 000001\.sql$/),
    hint: 'Deploy the version of identity-sync that made these migrations, or a newer one.',
  });
  expect(await refusal([first!, ...rest, 'sha1:of-tomorrow'])).toEqual({
    code: 'LS005',
    message: expect.stringContaining('is older than this program: it lacks 1 of its migrations'),
    hint: 'Run identity-sync migrate as its owner, then sql/roles.sql.',
  });
});

test('a column that is gone is named', async () => {
  await database.sql`alter table wxyc_schema.library_identity rename bandcamp_id to gone`;
  expect(await refusal(await seen())).toMatchObject({
    code: 'LS005',
    message: expect.stringMatching(/tables in the database \w+ lack library_identity\.bandcamp_id$/),
  });
  await database.sql`alter table wxyc_schema.library_identity rename gone to bandcamp_id`;
});

test('a login that may not call what the program calls is told which role it lacks, and how it gets it', async () => {
  await roles.run(database.url, { operator: operator.name, worker: worker.name });
  const known = await seen();
  expect(await refusal(known, ['plan_identity_run'], worker.into(database))).toBeNull();
  expect(await refusal(known, ['release_identity'], operator.into(database))).toBeNull();
  expect(await refusal(known, ['plan_identity_run'], operator.into(database))).toEqual({
    code: '42501',
    message: `permission denied for plan_identity_run: ${operator.name} is no member of ${roles.worker}`,
    hint: `Use a login that is (README, "Which login"), or make this one a member: psql "$DBA_URL" -v worker=${operator.name} -f sql/roles.sql.`,
  });
  expect(await refusal(known, ['release_identity'], worker.into(database))).toMatchObject({
    message: expect.stringContaining(`is no member of ${roles.operator}`),
  });
});

test('a function that no role may call is told so, and a worker is what is asked for', async () => {
  await roles.run(database.url);
  await database.sql.unsafe(`revoke all on function identity_sync.plan_identity_run from ${roles.worker}`);
  expect(await refusal(await seen(), ['plan_identity_run'], worker.into(database))).toMatchObject({
    message: expect.stringMatching(/is no member of any role that may call it$/),
    hint: expect.stringContaining(`-v worker=${worker.name} `),
  });
});

test('of several roles that may call a function, the one that comes first in the alphabet is asked for', async () => {
  await roles.run(database.url, { reader: reader.name });
  await database.sql.unsafe(`grant execute on function identity_sync.release_identity to ${roles.worker}`);
  expect(await refusal(await seen(), ['release_identity'], reader.into(database))).toMatchObject({
    message: expect.stringContaining(`is no member of ${roles.operator} or ${roles.worker}`),
    hint: expect.stringContaining(`-v operator=${reader.name} `),
  });
});
