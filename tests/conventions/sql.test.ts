// The rules that every function, view and table of identity_sync follows.
import { parse } from 'libpg-query';
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { definitions, readText, repositoryFiles, type SqlFile } from '../support/repository.js';

// What is looked at of a definition's syntax tree.
interface Definition {
  funcname?: { String: { sval: string } }[];
  view?: { schemaname: string; relname: string };
}

const functions = definitions('functions');
const views = definitions('views');

describe('a file in sql/', () => {
  test('opens with what it promises, in three sentences at most', () => {
    const openings = [...functions, ...views].map(({ path, text }) => ({
      path,
      sentences: /^(-- .*\n)*/.exec(text)![0].match(/[^.]\.(?=\s)/g)?.length ?? 0,
    }));
    expect(openings.filter(({ sentences }) => sentences < 1 || sentences > 3)).toEqual([]);
  });

  test.each([
    ['function', functions, ['CreateFunctionStmt', 'GrantStmt', 'CommentStmt']],
    ['view', views, ['ViewStmt', 'CommentStmt']],
  ])('defines the one %s that it is named after, and describes it', async (_kind, files, statements) => {
    expect(await Promise.all(files.map(outline))).toEqual(
      files.map(({ path, name }) => ({ path, defines: name, statements })),
    );
  });

  test("states a function's volatility", () => {
    const silent = functions.filter(
      ({ text }) => !/^language (sql|plpgsql) (immutable|stable|volatile)\b/m.test(text),
    );
    expect(silent.map(({ path }) => path)).toEqual([]);
  });
});

describe("what the station's backend owns", () => {
  const written =
    /insert into|delete from|merge into|truncate(?: table)?|copy|alter table|create (?:unique )?(?:index|trigger)[^;]*? on/;

  test.each([
    ['library, artists, genres and format', 'library|artists|genres|format', `${written.source}|update`],
    ['the rows and the shape of compilation_track_artist', 'compilation_track_artist', written.source],
  ])('is left alone: %s', (_tables, tables, verbs) => {
    const writes = `\\b(?:${verbs}) (?:if exists )?(?:only )?(?:wxyc_schema\\.)?(?:${tables})\\b`;
    const found = repositoryFiles()
      .filter((path) => /^(sql|migrations)\/.*\.sql$/.test(path))
      .flatMap((path) => {
        const text = readText(path).replaceAll(/--.*$/gm, '').replaceAll('"', '').replaceAll(/\s+/g, ' ');
        return [...text.matchAll(new RegExp(writes, 'gi'))].map(([statement]) => ({ path, statement }));
      });
    expect(found).toEqual([]);
  });
});

describe('in a migrated database', () => {
  const database = useDatabase();

  test('every function and view has a file, and each name only one definition', async () => {
    const [made] = await database.sql`
      select array(
               select proname::text from pg_proc
                where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace) and prokind <> 'a' order by proname collate "C"
             ) as functions,
             array(
               select relname::text from pg_class
                where relnamespace = 'identity_sync'::regnamespace and relkind = 'v' order by relname collate "C"
             ) as views`;
    expect(made).toEqual({
      functions: functions.map(({ name }) => name).sort(),
      views: views.map(({ name }) => name),
    });
  });

  test.each([
    [
      'pins its search_path, or is a return body',
      `'search_path=pg_catalog, pg_temp' = any (proconfig) or prokind = 'a' or prosqlbody is not null`,
    ],
    ['is closed to the public', `not has_function_privilege('public', oid, 'execute')`],
    ['is described', `obj_description(oid, 'pg_proc') is not null`],
  ])('every function %s', async (_rule, holds) => {
    const offenders = await database.sql.unsafe(`
      select oid::regprocedure::text as function from pg_proc
       where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace) and (${holds}) is not true`);
    expect([...offenders]).toEqual([]);
  });

  test('every view is described, and every table either so or where it is created', async () => {
    const history = repositoryFiles()
      .filter((path) => path.startsWith('migrations/committed/'))
      .map(readText);
    const introduced = history.flatMap((text) =>
      [...text.matchAll(/^-- .*\n+create table identity_sync\.(\w+)/gm)].map(([, table]) => table!),
    );
    const offenders = await database.sql`
      select relname from pg_class
       where relnamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace) and obj_description(oid, 'pg_class') is null
         and (relkind = 'v' or relkind = 'r' and relname <> all (${introduced}))`;
    expect([...offenders]).toEqual([]);
  });

  test('plpgsql_check, where the server has it, warns of nothing', async ({ skip }) => {
    const { sql } = database;
    const [available] = await sql`select from pg_available_extensions where name = 'plpgsql_check'`;
    skip(!available, 'this server has no plpgsql_check');
    await sql`create extension plpgsql_check`;
    const warnings = await sql`
      select oid::regprocedure::text as function, warning.lineno, warning.level, warning.message, warning.detail
        from pg_proc
       cross join plpgsql_check_function_tb(oid, fatal_errors => false) as warning
       where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace)
         and prolang = (select oid from pg_language where lanname = 'plpgsql')`;
    expect([...warnings]).toEqual([]);
  });
});

/** What a file does, statement by statement, and the name of what it defines. */
async function outline({ path, text }: SqlFile) {
  const { stmts = [] } = await parse(text);
  const statements = stmts.map(({ stmt }) => Object.entries(stmt!)[0]!);
  const [, { funcname, view }] = statements[0] as [string, Definition];
  const defines = view ? view.relname : funcname?.at(-1)?.String.sval;
  return { path, defines, statements: statements.map(([kind]) => kind) };
}
