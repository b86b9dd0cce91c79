// Who may do what: the roles that sql/roles.sql makes, run by each kind of DBA.
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { createDatabaseFor, createProduction, migrateWithPending } from '../support/adoption.js';
import { cli, startCli } from '../support/cli.js';
import { connect, type Login, type TestDatabase, useDatabase, useLogin } from '../support/database.js';
import { BROADCAST, buildProduction, CAT_POWER, confirmEverything, SUN_RA } from '../support/production.js';
import { ROOT, readText, systemCatalogue } from '../support/repository.js';
import { type Roles, useRoles } from '../support/roles.js';

const SUPERUSER: Login = { name: 'postgres', into: ({ url }) => url };
const REFUSED = { code: '42501' };

describe('run by a superuser', () => {
  const owner = useLogin();
  const { database, reader, operator, worker, stranger, lml } = promises({ owner, dba: SUPERUSER });

  test('the worker previews, and the operator writes what was previewed', async () => {
    const settings = { DATABASE_URL: worker.into(database), LIBRARY_METADATA_URL: lml().url };
    const previewed = await cli(['run', '--dry-run', '--scope', 'refresh'], settings);
    expect(previewed, previewed.stderr).toMatchObject({ status: 0 });
    const sql = connect(operator.into(database));
    const [dryRun] = await sql`select run_id from run_progress where dry_run`;
    const [applied] = await sql`select apply_identity_preview(${dryRun!.run_id}) -> 'scanned' as scanned`;
    expect(applied).toEqual({ scanned: JSON.parse(previewed.stdout).scanned });
  });

  test('one login does all of the first days: the worker looks at what its own dry run previewed, and writes it', async () => {
    const settings = { DATABASE_URL: worker.into(database), LIBRARY_METADATA_URL: lml().url };
    const previewed = await cli(['run', '--dry-run', '--scope', 'refresh'], settings);
    expect(previewed, previewed.stderr).toMatchObject({ status: 0 });
    const [dryRun] = await database.sql`select max(run_id) as run_id from identity_sync.run where dry_run`;
    const looked = await cli(['diff', '--run', dryRun!.run_id], settings);
    expect(looked, looked.stderr).toMatchObject({ status: 0 });
    const applied = await cli(['apply', '--run', dryRun!.run_id], settings);
    expect(applied, applied.stderr).toMatchObject({ status: 0 });
    expect(JSON.parse(applied.stdout)).toMatchObject({ scanned: JSON.parse(previewed.stdout).scanned });
  });

  test('migrate has nothing to do for the login of any role, and no login without one gets by', async () => {
    for (const login of [worker, operator, reader]) {
      const migrated = await cli(['migrate'], { DATABASE_URL: login.into(database) });
      expect(migrated, migrated.stderr).toMatchObject({ status: 0, stdout: '' });
      expect(migrated.stderr).toContain('the database is up to date');
    }
    const refused = await cli(['migrate'], { DATABASE_URL: stranger.into(database) });
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toContain('ownership of schema identity_sync');
  });

  test('migrate refuses the login of a role where something is left to do', async () => {
    const [last] = await database.sql`
      delete from graphile_migrate.migrations where filename = (select max(filename) from graphile_migrate.migrations)
      returning *`;
    const refused = await cli(['migrate'], { DATABASE_URL: worker.into(database) });
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toContain('ownership of schema identity_sync');
    await database.sql`insert into graphile_migrate.migrations ${database.sql(last!)}`;
  });

  test("MIGRATE_DATABASE_URL is the owner's login, which migrate takes before any other", async () => {
    const [last] = await database.sql`select max(filename) as filename from graphile_migrate.migrations`;
    for (const settings of [{ DATABASE_URL: stranger.into(database) }, {}]) {
      const migrated = await cli(['migrate'], { ...settings, MIGRATE_DATABASE_URL: owner.into(database) });
      expect(migrated, migrated.stderr).toMatchObject({ status: 0 });
    }
    const [still] = await database.sql`select max(filename) as filename from graphile_migrate.migrations`;
    expect(still).toEqual(last);
  });

  test("the worker's role is all that the production process needs", async () => {
    const working = startCli(['worker'], {
      DATABASE_URL: worker.into(database),
      LIBRARY_METADATA_URL: lml().url,
    });
    await working.says('the worker is up');
    working.signal('SIGTERM');
    expect(await working.ended).toMatchObject({ status: 0 });
  });
});

describe('run in a database whose transactions are serializable, read only and deferrable by default', () => {
  const owner = useLogin();
  const roles = useRoles();
  const [operator, worker] = [useLogin(), useLogin()];
  const database = useDatabase(() => createProduction(owner, 1));

  test('the logins get what every lane would otherwise pay for in retries', async () => {
    await migrate(owner.into(database));
    const defaults = ["isolation = 'serializable'", 'read_only = on', 'deferrable = on'];
    for (const setting of [
      ...defaults.map((each) => `default_transaction_${each}`),
      'idle_session_timeout = 60000',
    ]) {
      await database.sql.unsafe(`alter database ${database.name} set ${setting}`);
    }
    await roles.run(database.url, { operator: operator.name, worker: worker.name });
    for (const login of [operator, worker]) {
      const [found] = await connect(login.into(database))`
        select current_setting('transaction_isolation') as isolation,
          current_setting('transaction_read_only') as read_only,
          current_setting('transaction_deferrable') as deferrable`;
      expect(found).toEqual({ isolation: 'read committed', read_only: 'off', deferrable: 'off' });
    }
    const [waits] = await connect(worker.into(database))`
      select current_setting('idle_session_timeout') as idle, current_setting('statement_timeout') as statement,
        current_setting('lock_timeout') as lock`;
    expect(waits).toEqual({ idle: '0', statement: '10min', lock: '1min' });
  });
});

describe('run by a DBA who is no superuser and owns all of it', () => {
  const dba = useLogin('createrole');
  promises({ owner: dba, dba });
});

describe('run by a DBA who is no superuser and a member of the owner', () => {
  const owner = useLogin();
  const dba = useLogin(`createrole in role ${owner.name}`);
  promises({ owner, dba });
});

describe('run by a login that may not give roles', () => {
  const roles = useRoles();
  const [owner, stranger] = [useLogin(), useLogin()];
  const database = useDatabase(() => createProduction(owner, 1));

  test('says who may', async () => {
    await migrate(owner.into(database));
    await roles.run(database.url);
    await expect(roles.run(stranger.into(database))).rejects.toMatchObject({
      ...REFUSED,
      message: expect.stringContaining(`${stranger.name} may not give roles`),
      hint: expect.stringContaining('a superuser'),
    });
  });
});

describe("run by a DBA who owns the service's tables, and may only read the others", () => {
  const backend = useLogin();
  const dba = useLogin('createrole');
  const roles = useRoles();
  const database = useDatabase(() => createDatabaseFor([backend, dba]));

  test('grants nothing, and names what he may not grant', async () => {
    const { sql } = database;
    await buildProduction(connect(backend.into(database)), 1);
    await sql.unsafe(`
      grant usage on schema wxyc_schema to ${dba.name};
      grant select on all tables in schema wxyc_schema to ${dba.name};
      grant update on wxyc_schema.compilation_track_artist to ${dba.name};
      alter table wxyc_schema.library_identity owner to ${dba.name};
      alter table wxyc_schema.library_identity_source owner to ${dba.name};
      alter table wxyc_schema.library_identity_history owner to ${dba.name};`);
    await migrate(dba.into(database));
    await expect(roles.run(dba.into(database))).rejects.toThrow(
      'USAGE on schema wxyc_schema, SELECT on wxyc_schema.library, SELECT on wxyc_schema.artists, ' +
        'SELECT on wxyc_schema.compilation_track_artist',
    );
    expect(await sql`select from pg_roles where rolname = ${roles.reader}`).toHaveLength(0);
  });
});

/** The script's promises in a database that `owner` has migrated, when `dba` runs it. */
function promises({ owner, dba }: { owner: Login; dba: Login }) {
  const creator = dba === SUPERUSER ? undefined : dba;
  const [reader, operator, worker, stranger] = [1, 2, 3, 4].map(() => useLogin('', creator)) as [
    Login,
    Login,
    Login,
    Login,
  ];
  const GRANTEES = { reader: reader.name, operator: operator.name, worker: worker.name };
  const roles = useRoles();
  const database = useDatabase(() => createProduction(owner, 1));
  let lml: StandIn;
  let catalogue: unknown;

  beforeAll(async () => {
    await migrateWithPending(owner.into(database));
    await roles.run(dba.into(database), GRANTEES);
    lml = await startStandIn({ identities: new Map(), answer: confirmEverything(database.sql) });
    catalogue = await granted(database, roles);
  });
  afterAll(() => lml.close());

  const as = (login: Login) => connect(login.into(database));

  test('run again, it changes nothing', async () => {
    await roles.run(dba.into(database), GRANTEES);
    expect(await granted(database, roles)).toEqual(catalogue);
  });

  test('migrating goes on as before, and changes nothing', async () => {
    await migrate(owner.into(database));
    expect(await granted(database, roles)).toEqual(catalogue);
  });

  test('the worker carries a run, and needs no other role', async () => {
    const settings = { DATABASE_URL: worker.into(database), LIBRARY_METADATA_URL: lml.url };
    const ran = await cli(['run'], settings);
    expect(ran, ran.stderr).toMatchObject({ status: 0 });
    expect(JSON.parse(ran.stdout)).toMatchObject({ scanned: 9, rows_resolved: 6 });
  });

  test('each function that the program calls may be called by the role that runs it', async () => {
    const calls = (readdirSync(`${ROOT}/src`, { recursive: true }) as string[])
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) =>
        [...readText(`src/${file}`).matchAll(/\bidentity_sync\.(\w+)\(/g)].map(([, name]) => ({
          file,
          name,
          role: /^(commands\/(?!run|worker)\w+|database\/transaction)\.ts$/.test(file)
            ? operator.name
            : worker.name,
        })),
      );
    const closed = await database.sql`
      select call.* from jsonb_to_recordset(${JSON.stringify(calls)}::text::jsonb) as call (file text, name text, role text)
      join pg_proc on proname = call.name and pronamespace = 'identity_sync'::regnamespace
      where not has_function_privilege(call.role, pg_proc.oid, 'execute')`;
    expect(calls.length).toBeGreaterThan(10);
    expect([...closed]).toEqual([]);
  });

  test('the reader reads every view and table, and calls what writes nothing', async () => {
    const sql = as(reader);
    const readable = await sql`
      select oid::regclass::text as name from pg_class
      where relnamespace = 'identity_sync'::regnamespace and relkind in ('r', 'v')
        or relnamespace = 'wxyc_schema'::regnamespace and relname ~ '^(library|artists$|compilation_track_artist$)'
          and relkind = 'r'`;
    expect(readable.length).toBeGreaterThan(10);
    for (const { name } of readable) await sql.unsafe(`select * from ${name} limit 1`);

    const callable = await sql`
      select provolatile <> 'v' as writes_nothing, has_function_privilege(oid, 'execute') as callable
      from pg_proc where pronamespace = 'identity_sync'::regnamespace group by 1, 2`;
    expect(callable).toHaveLength(2);
    for (const { writes_nothing, callable: may } of callable) expect(may).toBe(writes_nothing);

    expect(
      await sql`select from identity_sync.identity_candidates(scope => 'refresh', stale_days => 0)`,
    ).toHaveLength(11);
    expect(await sql`select identity_sync.identity_run_report() ->> 'scanned' as scanned`).toEqual([
      { scanned: '9' },
    ]);
    const [{ state }] = await sql<[{ state: object }]>`
      select identity_sync.identity_snapshot(${JSON.stringify([{ library_id: CAT_POWER }])}::text::jsonb) as state`;
    expect(state).toMatchObject({ [CAT_POWER]: { identity: { discogs_master_id: 3172 } } });
  });

  test.each([
    ['reader', reader],
    ['operator', operator],
    ['worker', worker],
    ['login without a role', stranger],
  ])('the %s writes no table of the station or of the service directly', async (_who, login) => {
    const open = await database.sql`
      select pg_class.oid::regclass::text as name
      from pg_class
      where relnamespace in ('wxyc_schema'::regnamespace, 'identity_sync'::regnamespace, 'graphile_migrate'::regnamespace)
        and case
          when relkind = 'S' then has_sequence_privilege(${login.name}, oid, 'usage, update')
          when relkind in ('r', 'v') then
            has_table_privilege(${login.name}, oid, 'insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(${login.name}, oid, 'insert, update, references')
        end`;
    expect([...open]).toEqual([]);
    await expect(as(login)`update wxyc_schema.library_identity set confidence = 0`).rejects.toMatchObject(
      REFUSED,
    );
    await expect(as(login)`delete from identity_sync.attempt`).rejects.toMatchObject(REFUSED);
  });

  test('the operator repairs through the functions, by their bare names, and signs with his login', async () => {
    const sql = as(operator);
    const verdicts = [
      {
        kind: 'single_artist',
        library_id: CAT_POWER,
        main: { discogs_artist_id: 31506, spotify_artist_id: 'corrected' },
        method: 'manual',
        confidence: 1,
        provenance: [{ source: 'spotify', method: 'manual', confidence: 1, external_id: 'corrected' }],
      },
      { kind: 'hunch', library_id: SUN_RA, main: null, method: null, confidence: null, provenance: [] },
    ];
    const [{ report }] = await sql<[{ report: object }]>`
      select apply_identity_verdicts(${JSON.stringify(verdicts)}::text::jsonb) as report`;
    expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
    const signed = await sql`
      select identity.notes, spotify_id, source.notes as source_notes
      from wxyc_schema.library_identity as identity
      join wxyc_schema.library_identity_source as source using (library_id)
      where library_id = ${CAT_POWER} and source.source = 'spotify'`;
    const signature = `repair:${operator.name}`;
    expect([...signed]).toEqual([{ notes: signature, spotify_id: 'corrected', source_notes: signature }]);

    expect(await sql`select replay_quarantined_verdicts() -> 'replayed' as replayed`).toEqual([
      { replayed: 1 },
    ]);
    expect(
      await sql`select release_identity(${BROADCAST}, 'the wrong band') -> 'identity' as became`,
    ).toEqual([{ became: 'removed' }]);
    await expect(sql`select plan_identity_run()`).rejects.toMatchObject(REFUSED);
    await expect(sql`select prune_identity_sync(1)`).rejects.toMatchObject(REFUSED);
  });

  test('a login without a role calls nothing, not even where it may enter the schema', async () => {
    const sql = as(stranger);
    await expect(sql`select identity_sync_private.empty_report()`).rejects.toMatchObject(REFUSED);
    await as(owner).unsafe(`grant usage on schema identity_sync, identity_sync_private to ${stranger.name}`);
    const routines = await database.sql`
      select prokind, has_function_privilege(${stranger.name}, oid, 'execute') as callable
      from pg_proc where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace)
      group by 1, 2 order by 1`;
    expect([...routines]).toEqual([
      { prokind: 'a', callable: false },
      { prokind: 'f', callable: false },
    ]);
    await expect(sql`select identity_sync_private.empty_report()`).rejects.toMatchObject(REFUSED);
    await expect(sql`select identity_sync_private.sum_reports('{}')`).rejects.toMatchObject(REFUSED);
    await expect(sql`select identity_sync.apply_identity_verdicts('[]')`).rejects.toMatchObject(REFUSED);
  });

  test("all that a function with its owner's rights can call belongs to that owner", async () => {
    const owners = await database.sql`
      select distinct pg_get_userbyid(owner) as owner from (
        select oid as schema, nspowner as owner from pg_namespace
        union all select relnamespace, relowner from pg_class
        union all select pronamespace, proowner from pg_proc
        union all select typnamespace, typowner from pg_type
        union all select oprnamespace, oprowner from pg_operator
        union all select relnamespace, proowner
          from pg_trigger join pg_class on pg_class.oid = tgrelid join pg_proc on pg_proc.oid = tgfoid
          where not tgisinternal
      ) as object
      where schema::regnamespace::text in ('identity_sync', 'identity_sync_private', 'graphile_worker', 'graphile_migrate')`;
    expect([...owners]).toEqual([{ owner: owner.name }]);
  });

  test.each([
    ['operator', operator],
    ['worker', worker],
  ])(
    "the %s puts no code of his own where a function with its owner's rights would run it",
    async (_who, login) => {
      const sql = as(login);
      const attacks = [
        `create or replace function graphile_worker.add_job(
         identifier text, payload json default null, queue_name text default null, run_at timestamptz default null,
         max_attempts integer default null, job_key text default null, priority integer default null,
         flags text[] default null, job_key_mode text default 'replace')
       returns graphile_worker._private_jobs language sql as 'select null::graphile_worker._private_jobs'`,
        `create function graphile_worker.add_job(text, json, timestamptz, integer, text[], text)
       returns void language sql as ''`,
        'alter function graphile_worker.add_job security invoker',
        `create trigger attack before insert on graphile_worker._private_jobs for each row
         execute function suppress_redundant_updates_trigger()`,
        'alter table graphile_worker._private_jobs add column attack text',
        `create rule attack as on insert to graphile_worker.migrations do also select 1`,
        'create table graphile_worker.attack ()',
        'create function identity_sync.attack() returns void language sql as $$ $$',
        'create function identity_sync_private.attack() returns void language sql as $$ $$',
        'create function wxyc_schema.attack() returns void language sql as $$ $$',
        'alter function identity_sync.enqueue_lanes security invoker',
        `set role ${owner.name}`,
      ];
      for (const attack of attacks) await expect(sql.unsafe(attack), attack).rejects.toMatchObject(REFUSED);
    },
  );

  return { database, reader, operator, worker, stranger, lml: () => lml };
}

/** All that the script changes: grants, owners, members and settings. */
async function granted({ sql }: TestDatabase, { reader, operator, worker }: Roles) {
  const members = await sql`
    select roleid::regrole::text as role, member::regrole::text as member, admin_option
    from pg_auth_members where roleid::regrole::text in (${reader}, ${operator}, ${worker}) order by 1, 2, 3`;
  const settings = await sql`
    select setrole::regrole::text as role, setconfig from pg_db_role_setting
    where setdatabase = (select oid from pg_database where datname = current_database()) order by 1`;
  const owners = await sql`
    select oid::regclass::text as name, relowner::regrole::text as owner from pg_class
    where relnamespace in ('identity_sync'::regnamespace, 'graphile_worker'::regnamespace) order by 1`;
  return {
    catalogue: await systemCatalogue(sql),
    members: [...members],
    settings: [...settings],
    owners: [...owners],
  };
}
