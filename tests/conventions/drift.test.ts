// The current definitions beside the immutable history: neither may say what the other does not.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { calculateHash } from 'graphile-migrate/dist/hash.js';
import { getAllMigrations } from 'graphile-migrate/dist/migration.js';
import type postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { applyDefinitions, definitions, ROOT, readText, systemCatalogue } from '../support/repository.js';

describe('the history', () => {
  const INCLUDED = /^--! Included (.*)\n([\s\S]*?)\n--! EndIncluded \1$/gm;

  const committed = readdirSync(join(ROOT, 'migrations/committed')).sort();
  const history = committed.map((file) => readText(`migrations/committed/${file}`)).join('\n');

  test('ends with each function and view as its file has it', () => {
    const last = new Map([...history.matchAll(INCLUDED)].map(([, path, text]) => [path, text]));
    const files = [...definitions('functions'), ...definitions('views')];
    const committedText = files.map(({ path }) => [path, last.get(path)]);
    expect(Object.fromEntries(committedText)).toEqual(
      Object.fromEntries(files.map(({ path, text }) => [path, text.trim()])),
    );
  });

  test('takes each function and view from its file, and defines none in passing', () => {
    const ownWords = history.replaceAll(INCLUDED, '');
    expect(ownWords.match(/^create( or replace)? (function|procedure|view) .*/gim)).toBeNull();
  });

  test('is as it was committed: each file sealed by its hash, and bound to the one before it', async () => {
    const settings = { migrationsFolder: join(ROOT, 'migrations') } as Parameters<typeof getAllMigrations>[0];
    const migrations = await getAllMigrations(settings);
    expect(migrations.map(({ realFilename }) => realFilename)).toEqual(committed);
    for (const { realFilename, body, previousHash, hash, allowInvalidHash } of migrations) {
      const sealed = { realFilename, hash: calculateHash(body, previousHash), allowInvalidHash: false };
      expect({ realFilename, hash, allowInvalidHash }).toEqual(sealed);
    }
  });

  test('is complete: migrations/current.sql is blank', () => {
    // An include looks like a comment, but what begins with --! speaks to the tool.
    const current = readText('migrations/current.sql').replaceAll(/^--(?!!).*$/gm, '');
    expect(current.trim()).toBe('');
  });
});

describe('the current definitions', () => {
  const database = useDatabase();

  test('change nothing in a migrated database', async () => {
    const migrated = await systemCatalogue(database.sql);
    await applyDefinitions(database.sql);
    expect(await systemCatalogue(database.sql)).toEqual(migrated);
  });

  test('make every function and view by themselves, and no overload is left beside them', async () => {
    const migrated = await functionsAndViews(database.sql);
    await dropFunctionsAndViews(database.sql);
    expect(await functionsAndViews(database.sql)).toEqual({});
    await applyDefinitions(database.sql);
    expect(await functionsAndViews(database.sql)).toEqual(migrated);
  });
});

/** What has a file in `sql/`: an aggregate has none, since like a table it is made once, by a migration. */
async function functionsAndViews(sql: postgres.Sql) {
  const objects = Object.entries(await systemCatalogue(sql));
  return Object.fromEntries(
    objects.filter(([identity]) => /^(function|view) identity_sync(_private)?\./.test(identity)),
  );
}

async function dropFunctionsAndViews(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    do $$
    declare
      statement text;
    begin
      for statement in
        select format('drop view if exists %s cascade', oid::regclass)
          from pg_class where relnamespace = 'identity_sync'::regnamespace and relkind = 'v'
        union all
        select format('drop function if exists %s cascade', oid::regprocedure)
          from pg_proc where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace) and prokind = 'f'
        -- Sorting names them all before the first goes, and takes those that are bound into its body with it.
        order by 1
      loop
        execute statement;
      end loop;
    end
    $$`);
}
