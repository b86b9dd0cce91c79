// What `npm run migration:commit` finds by itself.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ownWords, pendingDefinitions, withIncludes } from '../support/pending.js';
import { inOrder, ROOT, readText, type SqlFile } from '../support/repository.js';

const leaf = definition('wire', 'leaf', 'name text', 'returns boolean language sql as $$ select true $$;');
const caller = definition(
  'write',
  'caller',
  '',
  "returns boolean language sql as $$ select identity_sync.leaf('x') $$;",
);
const bound = definition(
  'judge',
  'bound',
  '',
  "returns boolean language sql return identity_sync.leaf('x');",
);
const view: SqlFile = {
  ...{ path: 'views/overview.sql', name: 'overview', room: '.' },
  text: 'create or replace view identity_sync.overview as select identity_sync.bound() as is_bound;\n',
};
const files = [leaf, caller, bound, view];
const history = [files.map(committed).join('\n')];

describe('what is pending', () => {
  test('is nothing in this repository, whose definitions are all committed', async () => {
    const migrations = readdirSync(join(ROOT, 'migrations/committed')).sort();
    const texts = migrations.map((file) => readText(`migrations/committed/${file}`));
    const current = readText('migrations/current.sql');
    expect(await pendingDefinitions(inOrder(), texts, current)).toEqual({ includes: [], missingDrops: [] });
  });

  test('is what changed and what is new, in the order of the files, and no more', async () => {
    const changed = { ...view, text: view.text.replace('is_bound', 'is_tied') };
    const fresh = definition('wire', 'fresh', '', 'returns void language sql as $$ $$;');
    expect(await pathsOf([fresh, leaf, caller, bound, changed])).toEqual([fresh.path, changed.path]);
  });

  test('is a function that moved to another room, under its new path, without a drop', async () => {
    const moved = { ...caller, path: 'functions/run/caller.sql', room: 'run' };
    expect(await pending([leaf, moved, bound, view])).toEqual({ includes: [moved.path], missingDrops: [] });
  });

  test('is compared with the last committed text, not with an earlier one', async () => {
    const changed = { ...leaf, text: leaf.text.replace('true', 'false') };
    expect(await pathsOf([changed, caller, bound, view], [...history, committed(changed)])).toEqual([]);
    expect(await pathsOf(files, [...history, committed(changed)])).toEqual([leaf.path]);
  });

  test('leaves out what its author has included by hand', async () => {
    const changed = { ...leaf, text: leaf.text.replace('true', 'false') };
    const byHand = `--! include ${leaf.path}\n`;
    expect(await pathsOf([changed, caller, bound, view], history, byHand)).toEqual([]);
    expect(await pathsOf([changed, caller, bound, view], history, `-- ${byHand}`)).toEqual([leaf.path]);
  });
});

describe('a drop', () => {
  const DROPS = [
    'drop function identity_sync.caller();',
    'DROP FUNCTION IF EXISTS identity_sync.other(identity_sync.leaf), identity_sync.caller() CASCADE;',
  ];

  test('is asked for where a file is gone', async () => {
    const { missingDrops } = await pending([leaf, bound, view]);
    expect(missingDrops).toEqual(['caller']);
    expect(
      (await pending([leaf, bound, view], history, '-- drop function identity_sync.caller();')).missingDrops,
    ).toEqual(['caller']);
  });

  test.each(DROPS)('is found in current.sql: %s', async (drop) => {
    expect(await pending([leaf, bound, view], history, drop)).toEqual({ includes: [], missingDrops: [] });
  });

  test.each(DROPS)('that is committed is asked for once: %s', async (drop) => {
    expect((await pending([leaf, bound, view], [...history, drop])).missingDrops).toEqual([]);
  });

  test.each([
    ['a type', 'name text', 'name varchar'],
    ['a name', 'name text', 'title text'],
    ['one more argument', 'name text', 'name text, other text default null'],
    ['the result', 'returns boolean', 'returns integer'],
    ['the schema', 'identity_sync.leaf', 'identity_sync_private.leaf'],
  ])('is asked for where create or replace could not change %s', async (_what, from, to) => {
    const changed = { ...leaf, text: leaf.text.replaceAll(from, to) };
    expect((await pending([changed, caller, bound, view])).missingDrops).toEqual(['leaf']);
  });

  test('is not asked for where a body or a default changed', async () => {
    const changed = { ...leaf, text: leaf.text.replace('name text', "name text default 'x'") };
    expect(await pending([changed, caller, bound, view])).toEqual({
      includes: [leaf.path],
      missingDrops: [],
    });
  });

  test('of a function takes along what is bound to it, which is included again', async () => {
    const changed = { ...leaf, text: leaf.text.replaceAll('name text', 'title text') };
    const { includes } = await pending([changed, caller, bound, view]);
    expect(includes).toEqual([leaf.path, bound.path, view.path]);
  });
});

test('what an author has written is taken without the includes', () => {
  expect(ownWords(`alter table a add b integer;\n--! include ${leaf.path}\n-- Done.\n`)).toBe(
    'alter table a add b integer;\n\n-- Done.\n',
  );
});

test('includes are written below what the author has written', () => {
  expect(withIncludes('-- Why.\nalter table a add b integer;\n', [leaf, view])).toBe(
    `-- Why.\nalter table a add b integer;\n\n--! include ${leaf.path}\n--! include ${view.path}\n`,
  );
  expect(withIncludes('-- Why.\n', [])).toBe('-- Why.\n');
});

function definition(room: string, name: string, parameters: string, rest: string): SqlFile {
  const text = `create or replace function identity_sync.${name}(${parameters}) ${rest}\n`;
  return { path: `functions/${room}/${name}.sql`, name, room, text };
}

function committed({ path, text }: SqlFile): string {
  return `--! Included ${path}\n${text.trim()}\n--! EndIncluded ${path}\n`;
}

async function pending(current: SqlFile[], migrations = history, written = '') {
  const { includes, missingDrops } = await pendingDefinitions(current, migrations, written);
  return { includes: includes.map(({ path }) => path), missingDrops: missingDrops.map(({ name }) => name) };
}

async function pathsOf(...given: Parameters<typeof pending>) {
  return (await pending(...given)).includes;
}
