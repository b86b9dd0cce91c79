// What the tests of conventions share: the repository's own files, and a database's catalogue as something to compare.
import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type postgres from 'postgres';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const readText = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Every file of the repository, also what is not committed yet: nothing that is built, installed or ignored. */
export function repositoryFiles(): string[] {
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate'];
  return execFileSync('git', list, { cwd: ROOT, encoding: 'utf8' })
    .split('\0')
    .filter((path) => path && lstatSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile());
}

export interface SqlFile {
  /** As `--! include` names it. */
  path: string;
  /** The file's name without its ending, which is the name of what it defines. */
  name: string;
  /** The room of a function; a view has none. */
  room: string;
  text: string;
}

/** The rooms of `sql/functions`, from the top to the bottom: every call goes down, or stays in its room. */
export const ROOMS = [
  ...['observe', 'repair', 'upkeep', 'batch', 'run'],
  ...['write', 'candidates', 'judge', 'report', 'wire'],
];

/** The current definitions in `sql/functions` or `sql/views`. */
export function definitions(kind: 'functions' | 'views'): SqlFile[] {
  return (readdirSync(join(ROOT, 'sql', kind), { recursive: true }) as string[])
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({
      path: `${kind}/${file}`,
      name: basename(file, '.sql'),
      room: dirname(file),
      text: readText(`sql/${kind}/${file}`),
    }));
}

/** The names of the product's functions that a definition mentions outside of its comments, less its own. */
export function mentions({ name, text }: SqlFile): string[] {
  const code = text.replaceAll(/--.*$/gm, '').replaceAll(/^comment on[\s\S]*?;$/gm, '');
  const names = [...code.matchAll(/\bidentity_sync(?:_private)?\.(\w+)\(/g)].map(([, called]) => called!);
  return [...new Set(names)].filter((called) => called !== name).sort();
}

/**
 * Every current definition in an order in which it can be made: what is called before its caller, since PostgreSQL binds
 * a `return` body when it is created, then the views.
 */
export function inOrder(): SqlFile[] {
  const functions = definitions('functions');
  const byName = new Map(functions.map((file) => [file.name, file]));
  const ordered = new Set<SqlFile>();
  const visit = (file: SqlFile, callers: SqlFile[]) => {
    if (ordered.has(file) || callers.includes(file)) return;
    for (const called of mentions(file)) {
      const definition = byName.get(called);
      if (definition) visit(definition, [...callers, file]);
    }
    ordered.add(file);
  };
  const height = ({ room }: SqlFile) => ROOMS.indexOf(room);
  for (const file of functions.toSorted((one, other) => height(other) - height(one))) visit(file, []);
  return [...ordered, ...definitions('views')];
}

/** Applies every current definition to a migrated database. */
export async function applyDefinitions(sql: postgres.Sql): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local check_function_bodies = off`;
    for (const { path, text } of inOrder()) {
      await tx.unsafe(text).catch((error) => {
        throw new Error(`sql/${path}: ${error.message}`, { cause: error });
      });
    }
  });
}

/** A database's objects, each under a name that says its kind, with all that can differ between two of one name. */
export type SystemCatalogue = Record<string, unknown>;

/** Describes a database's schemas, less PostgreSQL's own: relations, constraints, triggers, routines and grants. */
export async function systemCatalogue(sql: postgres.Sql): Promise<SystemCatalogue> {
  const objects = await sql<{ identity: string; description: unknown }[]>`
    with schema as (
      select oid, nspname, nspacl from pg_namespace where nspname not like 'pg\\_%' and nspname <> 'information_schema'
    ),
    relation as (
      select pg_class.*, format('%s.%s', schema.nspname, pg_class.relname) as name,
             case relkind
               when 'r' then 'table' when 'v' then 'view' when 'S' then 'sequence' when 'c' then 'type' else 'index'
             end as kind
      from pg_class join schema on schema.oid = pg_class.relnamespace
    )
    select 'schema ' || nspname as identity,
           jsonb_build_object('grants', nspacl::text, 'comment', obj_description(oid, 'pg_namespace')) as description
      from schema
    union all
    select format('%s %s', kind, name),
           jsonb_build_object(
             'options', reloptions, 'grants', relacl::text, 'row_security', relrowsecurity,
             'comment', obj_description(oid, 'pg_class'),
             'definition', case kind when 'view' then pg_get_viewdef(oid) when 'index' then pg_get_indexdef(oid) end,
             'columns', (
               select jsonb_agg(
                 jsonb_build_object(
                   'name', attname, 'type', format_type(atttypid, atttypmod), 'not_null', attnotnull,
                   'identity', attidentity, 'generated', attgenerated, 'default', pg_get_expr(adbin, adrelid),
                   'grants', attacl::text, 'comment', col_description(attrelid, attnum)
                 ) order by attnum
               )
               from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
               where attrelid = relation.oid and attnum > 0 and not attisdropped
             )
           )
      from relation
    union all
    select format('constraint %s of %s', conname, name),
           jsonb_build_object(
             'definition', pg_get_constraintdef(pg_constraint.oid), 'validated', convalidated,
             'comment', obj_description(pg_constraint.oid, 'pg_constraint')
           )
      from pg_constraint join relation on relation.oid = conrelid
    union all
    select format('trigger %s of %s', tgname, name),
           jsonb_build_object('definition', pg_get_triggerdef(pg_trigger.oid), 'enabled', tgenabled)
      from pg_trigger join relation on relation.oid = tgrelid
     where not tgisinternal
    union all
    select format('%s %s.%s(%s)', case prokind when 'a' then 'aggregate' else 'function' end,
                  nspname, proname, pg_get_function_identity_arguments(pg_proc.oid)),
           jsonb_build_object(
             'definition', case prokind
               when 'a' then (select to_jsonb(a) - 'aggfnoid' from pg_aggregate as a where aggfnoid = pg_proc.oid)
               else to_jsonb(pg_get_functiondef(pg_proc.oid))
             end,
             'grants', proacl::text, 'comment', obj_description(pg_proc.oid, 'pg_proc')
           )
      from pg_proc join schema on schema.oid = pronamespace`;
  return Object.fromEntries(objects.map(({ identity, description }) => [identity, description]));
}
