// A login that may connect and no more: what it can do to the others.
import { beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { createProduction } from '../support/adoption.js';
import { call, plan, shelve, tryToClaim } from '../support/catalogue.js';
import { cli } from '../support/cli.js';
import { connect, useDatabase, useLogin } from '../support/database.js';
import { readText } from '../support/repository.js';
import { useRoles } from '../support/roles.js';

const mallory = useLogin();

describe('a login that may only connect', () => {
  const database = useDatabase();

  test('can take none of the locks that planning, claiming and rescuing wait for', async () => {
    await shelve(database.sql, 'Low');
    await database.sql.begin(async (sql) => {
      const run = await plan(sql);
      await tryToClaim(sql, run);
      await call(sql, 'rescue_identity_runs', { lanes: 1 });
      const open = await sql`
        select locktype, relation::regclass::text as relation
        from pg_locks
        where pid = pg_backend_pid()
          and locktype not in ('virtualxid', 'transactionid')
          and (locktype <> 'relation' or has_table_privilege(${mallory.name}, relation, 'insert, update, delete, truncate'))`;
      expect([...open]).toEqual([]);
    });
  });
});

/** Functions and operators that fit our calls better than those of pg_catalog, where public is searched at all. */
const TRAPS = `
  create table public.caught (trap text, victim name default current_user);
  grant insert on public.caught to public;
  create function public.spring(trap text) returns boolean language sql as $$
    insert into public.caught (trap) values (trap) returning true;
  $$;
  create function public.format(text, text) returns text language sql as $$
    select pg_catalog.format($1, $2) from public.spring('format(text, text)');
  $$;
  create function public.format(text, regnamespace, name) returns text language sql as $$
    select pg_catalog.format($1, $2, $3) from public.spring('format(text, regnamespace, name)');
  $$;
  create function public.format(text, regclass, name) returns text language sql as $$
    select pg_catalog.format($1, $2, $3) from public.spring('format(text, regclass, name)');
  $$;
  create function public.format(text, regclass) returns text language sql as $$
    select pg_catalog.format($1, $2) from public.spring('format(text, regclass)');
  $$;
  create function public.format(text, regprocedure) returns text language sql as $$
    select pg_catalog.format($1, $2) from public.spring('format(text, regprocedure)');
  $$;
  create function public.num_nulls(integer, integer, uuid, uuid, uuid, text, text, text) returns integer
    language sql immutable as 'select 0';
  create function public.undo_identity_run(integer) returns jsonb language sql as $$
    select '{}'::jsonb from public.spring('undo_identity_run(integer)');
  $$;
  create function public.field(jsonb, jsonb) returns jsonb language sql immutable as 'select null::jsonb';
  create operator public.-> (leftarg = jsonb, rightarg = jsonb, function = public.field);
  create operator public.#> (leftarg = jsonb, rightarg = jsonb, function = public.field);
  create operator public.- (leftarg = jsonb, rightarg = jsonb, function = public.field);`;

describe('a login that may create in schema public, as everybody may on PostgreSQL 14', () => {
  const owner = useLogin();
  const operator = useLogin();
  const roles = useRoles();
  const database = useDatabase(() => createProduction(owner, 1));
  const caught = async () => [...(await database.sql`select trap, victim from public.caught`)];

  beforeAll(async () => {
    await database.sql.unsafe(`
      grant create on schema public to public;
      drop table wxyc_schema.library_identity_source, wxyc_schema.library_identity_history, wxyc_schema.library_identity`);
    await connect(mallory.into(database)).unsafe(TRAPS);
    await migrate(owner.into(database));
    await roles.run(database.url, { operator: operator.name });
  });

  test('has none of its functions called by what was migrated', async () => {
    const depends = await database.sql`
      select pg_describe_object(pg_depend.classid, pg_depend.objid, objsubid) as object, pg_describe_object(refclassid, refobjid, 0) as uses
      from pg_depend
      join (
        select 'pg_proc'::regclass as classid, oid as objid, pronamespace as schema from pg_proc
        union all
        select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
      ) as trap on trap.classid = refclassid and trap.objid = refobjid and trap.schema = 'public'::regnamespace
      where pg_describe_object(pg_depend.classid, pg_depend.objid, 0) !~ '^operator'`;
    expect([...depends]).toEqual([]);
  });

  test('catches no DBA who runs sql/roles.sql', async () => {
    expect(await caught()).toEqual([]);
  });

  test('catches no operator who calls a function by its bare name', async () => {
    await expect(connect(operator.into(database))`select undo_identity_run(1)`).rejects.toMatchObject({
      code: 'LS002',
    });
    expect(await caught()).toEqual([]);
  });

  test.each(['status.sql', 'gate.sql'])('sets no trap for those who run sql/%s', (name) => {
    expect(readText(`sql/${name}`)).toMatch(/^select pg_catalog.set_config\('search_path'/m);
  });
});

describe('a login that may create schemas', () => {
  const owner = useLogin();
  const taken = useDatabase(() => createProduction(owner, 1));

  test.each(['graphile_migrate', 'graphile_worker'])(
    'has nothing of its schema %s run by a superuser who migrates',
    async (schema) => {
      const database = await createProduction(mallory, 1);
      await connect(mallory.into(database)).unsafe(`create schema ${schema}`);
      await expect(migrate(database.url)).rejects.toMatchObject({
        code: 'LS005',
        message: expect.stringContaining(`ownership of schema ${schema}: it belongs to ${mallory.name}`),
      });
      await database.drop();
    },
  );

  test('has nothing of it run by the owner, whom it tells that all is migrated', async () => {
    await taken.sql.unsafe(`grant create on database ${taken.name} to ${mallory.name}`);
    await connect(mallory.into(taken)).unsafe(`
      create schema graphile_migrate;
      create table graphile_migrate.migrations ();
      create schema identity_sync;
      create table identity_sync.caught ();
      create function identity_sync.missing_migrations(known text[]) returns integer language sql as
        'insert into identity_sync.caught default values; select 0';
      grant usage on schema graphile_migrate, identity_sync to public;
      grant select on graphile_migrate.migrations to public;
      grant insert on identity_sync.caught to public;`);
    const migrated = await cli(['migrate'], { DATABASE_URL: owner.into(taken) });
    expect(migrated).toMatchObject({ status: 1, stderr: expect.stringContaining('ownership of schema') });
    expect(await taken.sql`select from identity_sync.caught`).toHaveLength(0);
  });
});
