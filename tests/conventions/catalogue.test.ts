// The rules that every function, view and table follows, as a migrated database has them.
import { describe, expect, test } from 'vitest';
import { cloneDatabase, useDatabase } from '../support/database.js';
import { definitions, readText, repositoryFiles } from '../support/repository.js';
import { useRoles } from '../support/roles.js';

const functions = definitions('functions');
const views = definitions('views');

const OURS = `pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace)`;
const PUBLIC = `pronamespace = 'identity_sync'::regnamespace`;

describe('in a migrated database', () => {
  const database = useDatabase();

  /** The functions of which a condition on pg_proc is not true. */
  async function offenders(rule: string) {
    const rows = await database.sql.unsafe(`
      select oid::regprocedure::text as function from pg_proc where ${OURS} and (${rule}) is not true order by 1`);
    return rows.map((row) => row.function);
  }

  test('every function and view has a file, and each name only one definition', async () => {
    const [made] = await database.sql.unsafe(`
      select array(select proname::text from pg_proc where ${OURS} and prokind <> 'a' order by proname collate "C") as functions,
             array(
               select relname::text from pg_class
                where relnamespace = 'identity_sync'::regnamespace and relkind = 'v' order by relname collate "C"
             ) as views`);
    expect(made).toEqual({
      functions: functions.map(({ name }) => name).sort(),
      views: views.map(({ name }) => name),
    });
  });

  test.each([
    ['is closed to the public', `not has_function_privilege('public', oid, 'execute')`],
    ['is described', `obj_description(oid, 'pg_proc') is not null`],
    // A \`return\` body is bound when it is created, and a pinned path would forbid to inline it.
    [
      'pins its search_path, save for a private `return` body and an aggregate',
      `coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false) <> (not (${PUBLIC}) and (prosqlbody is not null or prokind = 'a'))`,
    ],
    // A plan that it forbids costs so much that it would be compiled, and with it the station's triggers that fire.
    [
      'that turns a kind of plan off turns the JIT compiler off, too',
      `proconfig is null or 'jit=off' = any (proconfig) or proconfig::text !~ 'enable_\\w+=off'`,
    ],
    [
      'is SECURITY DEFINER where it is public and volatile, and nowhere else',
      `prosecdef = (${PUBLIC} and provolatile = 'v')`,
    ],
    ['takes no advisory lock, which any login that may connect could hold', `prosrc !~ 'advisory_'`],
  ])('every function %s', async (_rule, holds) => {
    expect(await offenders(holds)).toEqual([]);
  });

  test('no private type, table or view is left in the open schema, nor a table in the private one', async () => {
    const misplaced = await database.sql`
      select oid::regclass::text as name from pg_class
      where relnamespace = 'identity_sync'::regnamespace and relkind = 'c'
        or relnamespace = 'identity_sync_private'::regnamespace and relkind <> 'c'`;
    expect([...misplaced]).toEqual([]);
  });

  test('every view is described, and every table either so or where it is created', async () => {
    const history = repositoryFiles()
      .filter((path) => path.startsWith('migrations/committed/'))
      .map(readText);
    const introduced = history.flatMap((text) =>
      [...text.matchAll(/^-- .*\n+create table identity_sync\.(\w+)/gm)].map(([, table]) => table!),
    );
    const silent = await database.sql`
      select relname from pg_class
       where relnamespace = 'identity_sync'::regnamespace and obj_description(oid, 'pg_class') is null
         and (relkind = 'v' or relkind = 'r' and relname <> all (${introduced}))`;
    expect([...silent]).toEqual([]);
  });

  test('plpgsql_check, where the server has it, warns of nothing', async ({ skip }) => {
    const { sql } = database;
    const [available] = await sql`select from pg_available_extensions where name = 'plpgsql_check'`;
    skip(!available, 'this server has no plpgsql_check');
    await sql`create extension plpgsql_check`;
    const warnings = await sql.unsafe(`
      select oid::regprocedure::text as function, warning.lineno, warning.level, warning.message, warning.detail
        from pg_proc
       cross join plpgsql_check_function_tb(oid, fatal_errors => false) as warning
       where ${OURS} and prolang = (select oid from pg_language where lanname = 'plpgsql')`);
    expect([...warnings]).toEqual([]);
  });
});

describe('where sql/roles.sql has been run', () => {
  const roles = useRoles();
  const database = useDatabase(async () => {
    const granted = await cloneDatabase();
    await roles.run(granted.url);
    return granted;
  });

  /** Every right of another than its owner to call a function, or to use a schema. */
  async function rights() {
    const rows = await database.sql.unsafe(`
      select pronamespace::regnamespace::text as schema, proname as name, provolatile as volatility,
             coalesce(array_agg(grantee::regrole::text) filter (where grantee <> proowner), '{}') as grantees
        from pg_proc left join lateral aclexplode(proacl) on true
       where ${OURS} and prokind <> 'a'
       group by pg_proc.oid order by proname collate "C"`);
    return rows as unknown as { schema: string; name: string; volatility: string; grantees: string[] }[];
  }

  test('every public function is granted to a role', async () => {
    const closed = (await rights()).filter(
      ({ schema, grantees }) => schema === 'identity_sync' && grantees.length === 0,
    );
    expect(closed.map(({ name }) => name)).toEqual([]);
  });

  test('what reads is open to every reader, and what writes to the roles that the script names, none of it private', async () => {
    const { reader, operator, worker } = roles;
    for (const { name, schema, volatility, grantees } of await rights()) {
      const allowed = volatility === 'v' ? (schema === 'identity_sync' ? [operator, worker] : []) : [reader];
      expect({ name, beyond: grantees.filter((grantee) => !allowed.includes(grantee)) }).toEqual({
        name,
        beyond: [],
      });
    }
  });

  test('only the readers may look into the private schema, besides its owner', async () => {
    const users = await database.sql`
      select grantee::regrole::text as name, privilege_type as privilege
      from pg_namespace cross join lateral aclexplode(nspacl)
      where nspname = 'identity_sync_private' and grantee <> nspowner`;
    expect([...users]).toEqual([{ name: roles.reader, privilege: 'USAGE' }]);
  });
});
