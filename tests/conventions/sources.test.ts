// TypeScript only carries; and what the repository as a whole does not hold.
import { join } from 'node:path';
import { parse } from 'libpg-query';
import { describe, expect, test } from 'vitest';
import { parseAst } from 'vitest/node';
import { connect, useDatabase } from '../support/database.js';
import { ROOT, readText, repositoryFiles } from '../support/repository.js';

// Two parsers' trees, as far as they are looked at: objects in objects and arrays.
type Node = Record<string, unknown>;

const ROOMS = [
  ...['migrations', 'sql', 'src', 'tests'],
  ...[
    'CHANGELOG.md',
    'Dockerfile',
    'compose.yaml',
    'LICENSE',
    'README.md',
    'package-lock.json',
    'package.json',
    'tsconfig.json',
  ],
];

// The parts of `select column, … from identity_sync.function(name => value, …)`; besides the product's own schema there
// is that of the session, whose one function looks at a database before it has the product.
const SCHEMAS = ['identity_sync', 'pg_temp'];
const CLAUSES = ['targetList', 'fromClause', 'limitOption', 'op'];
const PARTS = [
  ...['SelectStmt', 'ResTarget', 'ColumnRef', 'RangeFunction', 'List', 'FuncCall', 'NamedArgExpr'],
  ...['ParamRef', 'A_Const', 'TypeCast', 'String'],
];

const files = repositoryFiles();

// Less the demo, which plays the station and LML: they write their own tables and compose answers.
const sources = files
  .filter((path) => /^src\/(?!demo\/).*\.ts$/.test(path))
  .map((path) => ({ path, nodes: nodesOf(parseAst(readText(path), { lang: 'ts' })) }));

describe('src/', () => {
  const database = useDatabase();

  const statements = sources.flatMap(({ path, nodes }) =>
    nodes
      // The page's templates are HTML; every other tag is a session of the database.
      .filter(({ type, tag }) => type === 'TaggedTemplateExpression' && (tag as Node).name !== 'html')
      .map((node) => ({ path, text: sqlOf(node) }))
      .filter(({ text }) => !['begin', 'commit', 'rollback'].includes(text)),
  );

  test.each(statements)('only selects from a function of the product: $path, $text', async ({ text }) => {
    expect(await excessOf(text)).toEqual([]);
  });

  test.each(statements)('calls functions as the database knows them: $path, $text', async ({ text }) => {
    const session = connect(database.url);
    await session.file(join(ROOT, 'sql/preflight.sql'));
    await session.file(join(ROOT, 'sql/is-migrated.sql'));
    await session.unsafe(`prepare statement as ${text}`).simple();
  });

  test('names no private function', () => {
    const naming = files.filter(
      (path) => /^src\//.test(path) && readText(path).includes('identity_sync_private'),
    );
    expect(naming).toEqual([]);
  });

  test('hands no statement to the database but by a template, and looks into no answer', () => {
    // graphile-worker's own statements pass through its pool.
    const ours = sources.filter(({ path }) => path !== 'src/database/pool.ts');
    const calls = ours.flatMap(({ path, nodes }) =>
      nodes
        .filter(({ type }) => type === 'CallExpression')
        .map(({ callee }) => `${path}: ${nameOf(callee)}()`),
    );
    const way = /: (sql|JSON\.parse|.*\.(unsafe|query|withPgClient|json))\(\)$/;
    expect(calls.filter((call) => way.test(call))).toEqual([]);
  });
});

describe('the repository', () => {
  test('has no more rooms than these', () => {
    const rooms = files.map((path) => path.split('/')[0]!).filter((name) => !name.startsWith('.'));
    expect([...new Set(rooms)].filter((room) => !ROOMS.includes(room))).toEqual([]);
  });

  test.each([
    ["a path of somebody's machine", /(?<![\w.])\/(?:work|root|home|Users)\/(?!node\b)\w/],
    ['the host of a package registry', /\b(?:registry\.(?:npmjs|yarnpkg|npmmirror)|npm\.pkg\.github)\b/],
    ['the number of an issue, which cannot be looked up here', /(?<!&)#\d+\b/],
  ])('does not mention %s', (_what, words) => {
    const texts = files
      .map((path) => ({ path, text: readText(path) }))
      .filter(({ text }) => !text.includes('\0'));
    expect(
      texts.flatMap(({ path, text }) => (words.test(text) ? [`${path}: ${words.exec(text)}`] : [])),
    ).toEqual([]);
  });

  test('says in its lock file which packages, and not where from', () => {
    const { packages } = JSON.parse(readText('package-lock.json')) as { packages: Record<string, Node> };
    expect(Object.keys(packages).filter((name) => packages[name]!.resolved)).toEqual([]);
  });
});

/** Flattens a tree into the objects it is made of. */
function nodesOf(tree: unknown): Node[] {
  if (tree === null || typeof tree !== 'object') return [];
  const below = Object.values(tree).flatMap(nodesOf);
  return Array.isArray(tree) ? below : [tree as Node, ...below];
}

/** A tagged template as the database gets it: on one line, a parameter for each expression. */
function sqlOf({ quasi }: Node): string {
  const { quasis } = quasi as { quasis: { value: { cooked: string } }[] };
  const text = quasis.map(({ value }, index) => (index === 0 ? '' : `$${index}`) + value.cooked).join('');
  return text.replaceAll(/\s+/g, ' ').trim();
}

/** The name by which a function is called, as in `JSON.parse` or `.unsafe` of any value. */
function nameOf(callee: unknown): string {
  const { type, name, object, property } = callee as Node;
  return type === 'MemberExpression' ? `${nameOf(object)}.${nameOf(property)}` : String(name ?? '');
}

/** Lists what a statement holds beyond `select column, … from identity_sync.function(name => value, …)`. */
async function excessOf(text: string): Promise<string[]> {
  const { stmts = [] } = await parse(text);
  const nodes = nodesOf(stmts).flatMap((node) => Object.entries(node) as [string, Node][]);
  const all = (kind: string) => nodes.filter(([name]) => name === kind).map(([, node]) => node);
  const calls = all('FuncCall') as { funcname: { String: { sval: string } }[]; args?: Node[] }[];
  return [
    ...nodes.map(([name]) => name).filter((name) => /^[A-Z]/.test(name) && !PARTS.includes(name)),
    ...all('SelectStmt')
      .flatMap(Object.keys)
      .filter((clause) => !CLAUSES.includes(clause)),
    ...all('ResTarget')
      .flatMap(({ val }) => Object.keys(val as Node))
      .filter((kind) => kind !== 'ColumnRef'),
    ...calls
      .map(({ funcname: [schema] }) => schema!.String.sval)
      .filter((schema) => !SCHEMAS.includes(schema)),
    ...calls.flatMap(({ args = [] }) => args.flatMap(Object.keys)).filter((kind) => kind !== 'NamedArgExpr'),
    ...(stmts.length === 1 && all('RangeFunction').length === 1 ? [] : ['more or less than one call']),
  ];
}
