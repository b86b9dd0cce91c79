// The rules that every file in sql/ follows: its rooms, its size, its layout, its words.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'libpg-query';
import { describe, expect, test } from 'vitest';
import {
  definitions,
  mentions,
  ROOMS,
  ROOT,
  readText,
  repositoryFiles,
  type SqlFile,
} from '../support/repository.js';

const MAX_LINES = 150;
/** The judge states every rule once, and is read from top to bottom. */
const MAX_LINES_OF = new Map([['judge_identity_verdicts', 245]]);
const MAX_COLUMNS = 120;

// What is looked at of a definition's syntax tree.
interface Definition {
  funcname?: { String: { sval: string } }[];
  view?: { schemaname: string; relname: string };
}

const functions = definitions('functions');
const views = definitions('views');
const everything = [...functions, ...views];
const scripts = repositoryFiles()
  .filter((path) => /^sql\/[^/]+\.sql$|^sql\/lib\//.test(path))
  .map((path) => ({ path: path.replace('sql/', ''), text: readText(path) }));

describe('a file in sql/', () => {
  test('opens with what it promises, in three sentences at most', () => {
    const openings = everything.map(({ path, text }) => ({
      path,
      sentences: headerOf(text).match(/[^.]\.(?=\s)/g)?.length ?? 0,
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

  // A body is read under the session's standard_conforming_strings, where off makes an escape of a backslash.
  test('has no backslash in a literal without E', () => {
    const plain = functions.flatMap(({ path, text }) =>
      text
        .split('\n')
        .filter(
          (line) =>
            !/^\s*--/.test(line) && /(?<![Ee'])'(?:[^']|'')*\\/.test(line.replace(/\bE'(?:[^']|'')*'/g, '')),
        )
        .map((line) => `${path}: ${line}`),
    );
    expect(plain).toEqual([]);
  });

  // Both are volatile, so that a whole table is read to compare each of its rows with them.
  test('compares nothing with a bare currval or nextval, but with (select currval(…))', () => {
    const bare = [...everything, ...scripts].filter(({ text }) =>
      /(?<!:)[=<>] *(?:currval|nextval)\(/.test(text.replaceAll(/constant bigint := .*/g, '')),
    );
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  // A page counted off skips rows, as those before it leave the queue. A fence for the planner skips none.
  test('counts no rows off: offset is 0 wherever it stands', () => {
    const paging = [...everything, ...scripts].filter(({ text }) =>
      /^(?!\s*--).*\boffset\b(?! 0\b)/im.test(text),
    );
    expect(paging.map(({ path }) => path)).toEqual([]);
  });

  test("states a function's volatility", () => {
    const silent = functions.filter(
      ({ text }) => !/^language (sql|plpgsql) (immutable|stable|volatile)\b/m.test(text),
    );
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  test('describes a function in one line, which begins with its verb and ends as a sentence', () => {
    const others = functions.filter(({ text }) => !/\bis\s+'[A-Z][a-z]+s (?:[^'\n]|'')+\.';\n$/.test(text));
    expect(others.map(({ path }) => path)).toEqual([]);
  });

  test(`has no function of more than ${MAX_LINES} lines, save for the judge`, () => {
    const long = functions.filter(
      ({ name, text }) => linesOf(text).length > (MAX_LINES_OF.get(name) ?? MAX_LINES),
    );
    expect(long.map(({ path }) => path)).toEqual([]);
  });
});

describe('the layout of SQL', () => {
  const lines = [...everything, ...scripts].flatMap(({ path, text }) => {
    const code = codeOf(text).split('\n');
    return text.split('\n').map((line, index) => ({ path, line, code: code[index]! }));
  });
  const where = (offends: (line: { line: string; code: string }) => boolean) =>
    lines.filter(offends).map(({ path, line }) => `${path}: ${line}`);

  test('has no tab, no blank at the end of a line, and steps of two spaces', () => {
    expect(where(({ line, code }) => /\t|\s$/.test(line) || /^(?: {2})* \S/.test(code))).toEqual([]);
  });

  test(`has at most ${MAX_COLUMNS} columns, save for the one line of a description`, () => {
    const wide = lines.filter(({ line }) => [...line].length > MAX_COLUMNS && !/^ {2}'.*';$/.test(line));
    expect([...new Set(wide.map(({ path }) => path))].sort()).toEqual([]);
  });

  test('is lower case', () => {
    expect(where(({ code }) => /(?<!:")\b[A-Z]{2,}\b/.test(code))).toEqual([]);
  });

  test('has a clause lead its line, unless its statement begins on the same line', () => {
    const clause = /\S.*?\b(?:from|where|group by|having|returning|on conflict|join)\b/;
    const beginning =
      /\b(?:select|delete|update|insert|perform|copy|filter|rows from|distinct|extract|trim|substring)\b|\(\s*from|^\s*(?:revoke|grant|for each)\b|^\) from public/;
    const kind = /^\s*(?:(?:cross|left|right|full|inner)\s+)?(?:from|where|group|having|returning|on|join)\b/;
    expect(where(({ code }) => clause.test(code) && !kind.test(code) && !beginning.test(code))).toEqual([]);
  });
});

describe('the rooms of sql/functions', () => {
  test('are these', () => {
    expect([...new Set(functions.map(({ room }) => room))].sort()).toEqual(ROOMS.toSorted());
  });

  test('lie one below the other: every call goes down, or stays in its room', () => {
    const room = new Map(functions.map((file) => [file.name, file.room]));
    const calls = functions.flatMap((file) =>
      mentions(file).map((called) => ({ from: file.room, caller: file.name, to: room.get(called), called })),
    );
    expect(calls.length).toBeGreaterThan(50);
    const height = (name: string) => ROOMS.indexOf(name);
    expect(calls.filter(({ from, to }) => to && height(to) < height(from))).toEqual([]);
  });

  test('are those of tests/: each function has its folder, with a test in it', () => {
    const untested = functions.filter(({ room, name }) => !hasTests(join(ROOT, 'tests', room, name)));
    expect(untested.map(({ room, name }) => `${room}/${name}`)).toEqual([]);
  });

  test('have no test folder of a function that is gone', () => {
    const known = new Set(functions.map(({ room, name }) => `${room}/${name}`));
    const folders = ROOMS.flatMap((room) =>
      foldersIn(join(ROOT, 'tests', room)).map((name) => `${room}/${name}`),
    );
    expect(folders.filter((folder) => !known.has(folder))).toEqual([]);
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

/** The comment that a file opens with. */
function headerOf(text: string): string {
  return /^(-- .*\n)*/.exec(text)![0];
}

/** The lines of the function itself, less its header, its grants and its description. */
function linesOf(text: string): string[] {
  return /^create or replace function[\s\S]*?(?=^revoke )/m.exec(text)![0].trim().split('\n');
}

/** The text with every comment, string and psql command blanked, each line where it was. */
function codeOf(text: string): string {
  return text.replaceAll(/^\\.*$|--.*$|'(?:[^']|'')*'/gm, (silent) =>
    silent.startsWith("'") ? silent.replaceAll(/[^\n]/g, 'x') : '',
  );
}

function foldersIn(place: string): string[] {
  if (!existsSync(place)) return [];
  return readdirSync(place, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

function hasTests(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).some((file) => file.endsWith('.test.ts'));
}

/** What a file does, statement by statement, and the name of what it defines. */
async function outline({ path, text }: SqlFile) {
  const { stmts = [] } = await parse(text);
  const statements = stmts.map(({ stmt }) => Object.entries(stmt!)[0]!);
  const [, { funcname, view }] = statements[0] as [string, Definition];
  const defines = view ? view.relname : funcname?.at(-1)?.String.sval;
  return { path, defines, statements: statements.map(([kind]) => kind) };
}
