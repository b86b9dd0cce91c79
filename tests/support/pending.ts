// What `npm run migration:commit` finds: the definitions in sql/ that the committed migrations do not have yet.
import { basename } from 'node:path';
import { parse } from 'libpg-query';
import { mentions, type SqlFile } from './repository.js';

export interface Pending {
  /** What must be included, in the order of the files given. */
  includes: SqlFile[];
  /** What must be dropped by hand above the includes, and is not: each with the reason. */
  missingDrops: { name: string; reason: string }[];
}

/**
 * Compares the current definitions, given in an order in which they can be made, with the committed migrations, given from
 * the first to the last, and with what the author has written in migrations/current.sql.
 */
export async function pendingDefinitions(
  files: SqlFile[],
  committed: string[],
  current: string,
): Promise<Pending> {
  const before = new Map<string, { path: string; text: string }>();
  for (const migration of committed) {
    for (const name of dropped(migration)) before.delete(name);
    for (const [, path, text] of migration.matchAll(INCLUDED))
      before.set(nameOf(path!), { path: path!, text: text! });
  }
  const names = new Set(files.map(({ name }) => name));
  const gone = [...before.keys()].filter((name) => !names.has(name));
  const remade = new Set<string>();
  for (const { name, text } of files) {
    const known = before.get(name);
    if (known && known.text !== text.trim() && (await signature(known.text)) !== (await signature(text)))
      remade.add(name);
  }

  const included = new Set([...withoutComments(current).matchAll(INCLUDE)].map(([, path]) => path));
  const unmade = withDependents(files, remade);
  const includes = files.filter(({ path, name, text }) => {
    const known = before.get(name);
    return (known?.path !== path || known.text !== text.trim() || unmade.has(name)) && !included.has(path);
  });

  const drops = dropped(current);
  const missingDrops = [
    ...gone.map((name) => ({ name, reason: 'its file is gone' })),
    ...[...remade].map((name) => ({
      name,
      reason:
        'its arguments or its result changed, and the old one would stay beside it or refuse to be replaced',
    })),
  ].filter(({ name }) => !drops.has(name));
  return { includes, missingDrops };
}

/** migrations/current.sql with the includes below what its author has written. */
export function withIncludes(current: string, includes: SqlFile[]): string {
  if (includes.length === 0) return current;
  return `${current.trimEnd()}\n\n${includes.map(({ path }) => `--! include ${path}\n`).join('')}`;
}

/** What the author has written into migrations/current.sql for the definitions in sql/ to stand on. */
export const ownWords = (current: string) => current.replaceAll(INCLUDE, '');

const INCLUDED = /^--! Included (.*)\n([\s\S]*?)\n--! EndIncluded \1$/gm;
const INCLUDE = /^--![ \t]*include[ \t]+(.*\.sql)[ \t]*$/gm;

const nameOf = (path: string) => basename(path, '.sql');

// What begins with --! speaks to graphile-migrate.
const withoutComments = (text: string) => text.replaceAll(/--(?!!).*$/gm, '');

/** The names of the functions and views that a migration drops in its own words. */
function dropped(migration: string): Set<string> {
  const ownWords = withoutComments(migration.replaceAll(INCLUDED, ''));
  const statements = ownWords.match(/\bdrop\s+(?:function|view)\b[^;]*/gi) ?? [];
  const names = statements.flatMap((statement) => {
    const withoutArguments = statement.replaceAll(/\([^()]*\)/g, '');
    return [...withoutArguments.matchAll(/\bidentity_sync(?:_private)?\.(\w+)/g)].map(([, name]) => name!);
  });
  return new Set(names);
}

/**
 * What goes when these are dropped with CASCADE: a view, and a function with a `return` body, are bound to what they call,
 * whereas a body in quotes finds it by its name.
 */
function withDependents(files: SqlFile[], remade: Set<string>): Set<string> {
  const unmade = new Set(remade);
  for (const file of files) {
    const isBound = file.path.startsWith('views/') || !/\bas \$/.test(file.text);
    if (isBound && mentions(file).some((name) => unmade.has(name))) unmade.add(file.name);
  }
  return unmade;
}

/** What `create or replace` cannot change: a function's schema, the names, modes and types of its arguments, its result. */
async function signature(text: string): Promise<string> {
  const { stmts = [] } = await parse(text);
  const made = stmts
    .flatMap(({ stmt }) => Object.entries(stmt as unknown as Record<string, object>))
    .find(([kind]) => kind === 'CreateFunctionStmt')?.[1];
  if (!made) return '';
  const {
    funcname,
    parameters = [],
    returnType,
  } = made as {
    funcname: unknown;
    parameters?: { FunctionParameter: { name: string; mode: string; argType: unknown } }[];
    returnType: unknown;
  };
  const inputs = parameters.map(({ FunctionParameter: { name, mode, argType } }) => [name, mode, argType]);
  return JSON.stringify([funcname, inputs, returnType], (key, value) =>
    key === 'location' ? undefined : value,
  );
}
