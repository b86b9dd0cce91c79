// The pages say what the database and the files say.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { generatedPages } from '../support/docs.js';
import { definitions, mentions, ROOT, readText, repositoryFiles } from '../support/repository.js';
import { useRoles } from '../support/roles.js';

const files = repositoryFiles();
const pages = files.filter((path) => path.endsWith('.md'));

describe('the generated pages', () => {
  const roles = useRoles();
  const database = useDatabase();

  test('are current: `npm run docs` would change nothing', async () => {
    await roles.run(database.url);
    for (const [path, text] of Object.entries(await generatedPages(database.sql, roles))) {
      expect(readText(path), path).toBe(text);
    }
  });
});

test.each(pages)('every link of %s leads to a file', (page) => {
  const links = [...readText(page).matchAll(/\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link]) =>
    join(page, '..', link!),
  );
  expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('the map in sql/README.md draws an arrow for each pair of rooms of which one calls the other, and no other', () => {
  const functions = definitions('functions');
  const rooms = new Map(functions.map(({ name, room }) => [name, room]));
  const calls = functions.flatMap((file) =>
    mentions(file)
      .map((called) => rooms.get(called))
      .filter((room) => room && room !== file.room)
      .map((room) => `${file.room} --> ${room}`),
  );
  const drawn = [...readText('sql/README.md').matchAll(/^ +(\w+)(?:\[.*\])? --> (\w+)$/gm)];
  expect(drawn.map(([, from, to]) => `${from} --> ${to}`).sort()).toEqual([...new Set(calls)].sort());
});

test('the table of errors in sql/README.md lists each SQLSTATE that sql/ raises, and no other', () => {
  const code = files.filter((path) => /^sql\/.*\.sql$/.test(path)).map(readText);
  const raised = code.flatMap((text) => text.match(/(?<=errcode = ')LS\d{3}(?=')/g) ?? []);
  const listed = [...readText('sql/README.md').matchAll(/^\| `(LS\d{3})` \|/gm)].map(
    ([, sqlstate]) => sqlstate,
  );
  expect(listed).toEqual([...new Set(raised)].sort());
});

test('sql/decisions.md gives the reason for each dependency, and for no other', () => {
  const { dependencies, devDependencies } = JSON.parse(readText('package.json')) as Record<string, object>;
  const section = readText('sql/decisions.md').split('\n## ')[1]!;
  const reasoned = section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => line.split('|')[1]!.match(/(?<=`)[^`,]+(?=`)/g) ?? []);
  expect(reasoned.filter((name) => name.trim()).sort()).toEqual(
    [...Object.keys(dependencies!), ...Object.keys(devDependencies!)].sort(),
  );
});

test('each script of package.json that a person runs is named in .github/CONTRIBUTING.md or README.md', () => {
  const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
  const text = readText('.github/CONTRIBUTING.md') + readText('README.md');
  const named = (script: string) => text.includes(`npm run ${script}`) || text.includes(`npm ${script}`);
  expect(Object.keys(scripts).filter((script) => script !== 'prepare' && !named(script))).toEqual([]);
});
