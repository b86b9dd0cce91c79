// What a database must bring before anything is changed: each thing missing is named, with what to do about it.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { createDatabaseFor, createProduction } from '../support/adoption.js';
import { cli, logOf } from '../support/cli.js';
import { connect, type TestDatabase, useLogin } from '../support/database.js';
import { stationRows } from '../support/production.js';
import { systemCatalogue } from '../support/repository.js';

const BACKEND = new URL('../../src/demo/backend.sql', import.meta.url);

// Somebody to whom the station's tables belong, and the login that migrates.
const backend = useLogin();
const owner = useLogin();

// Copied for each test: a database as production's, in which the login owns everything.
let template: TestDatabase;

beforeAll(async () => {
  template = await createProduction(owner, 1);
  await template.sql.end();
});

afterAll(() => template.drop());

const handOver = (...tables: string[]) =>
  tables.map((table) => `alter table wxyc_schema.${table} owner to ${backend.name};`).join(' ');

const IDENTITY_TABLES = ['library_identity', 'library_identity_source', 'library_identity_history'];
const DROP_IDENTITY_TABLES = `drop table ${IDENTITY_TABLES.map((table) => `wxyc_schema.${table}`)}`;

describe('a database is refused before anything is changed', () => {
  const lacks: { what: string; change: () => string; missing: (database: string) => string[] }[] = [
    {
      what: 'the table library',
      change: () => 'drop table wxyc_schema.library cascade',
      missing: () => ["table wxyc_schema.library: is this the station's database?"],
    },
    {
      what: 'the table artists',
      change: () => 'drop table wxyc_schema.artists cascade',
      missing: () => ["table wxyc_schema.artists: is this the station's database?"],
    },
    {
      what: 'the table compilation_track_artist',
      change: () => 'drop table wxyc_schema.compilation_track_artist',
      missing: () => ["table wxyc_schema.compilation_track_artist: is this the station's database?"],
    },
    {
      what: 'a column of library',
      change: () => 'alter table wxyc_schema.library drop column canonical_entity_id',
      missing: () => ['column canonical_entity_id of wxyc_schema.library, of type text or character varying'],
    },
    {
      what: 'a column of an identity table',
      change: () => 'alter table wxyc_schema.library_identity drop column spotify_id cascade',
      missing: () => ['column spotify_id of wxyc_schema.library_identity, of type text'],
    },
    {
      what: "a column's type",
      change: () =>
        'alter table wxyc_schema.library_identity_source alter column confidence type double precision',
      missing: () => [
        'column confidence of wxyc_schema.library_identity_source, of type real: it is double precision',
      ],
    },
    {
      what: 'the function that folds names',
      change: () => 'drop function wxyc_schema.fold_artist_name cascade',
      missing: () => ["function wxyc_schema.fold_artist_name(text), which the backend's own migrations make"],
    },
    {
      what: 'the right to fold names',
      change: () => `
        alter function wxyc_schema.fold_artist_name(text) owner to ${backend.name};
        revoke execute on function wxyc_schema.fold_artist_name(text) from public`,
      missing: () => [`EXECUTE on function wxyc_schema.fold_artist_name(text): grant it to ${owner.name}`],
    },
    ...['identity_sync', 'graphile_migrate', 'graphile_worker'].map((schema) => ({
      what: `ownership of ${schema}, which somebody else's migration made`,
      change: () => `create schema ${schema} authorization ${backend.name}`,
      missing: () => [
        `ownership of schema ${schema}: it belongs to ${backend.name}, and this is ${owner.name}; ` +
          `migrate as its owner, or grant ${backend.name} to ${owner.name}`,
      ],
    })),
    ...IDENTITY_TABLES.map((table) => ({
      what: `ownership of ${table}`,
      change: () => handOver(table),
      missing: () => [
        `ownership of wxyc_schema.${table}: it belongs to ${backend.name}, and this is ${owner.name}; ` +
          `migrate as its owner, or grant ${backend.name} to ${owner.name}`,
      ],
    })),
    {
      what: 'the right to create schemas',
      change: () => `
        do $$ begin
          execute format('revoke create on database %I from ${owner.name}', current_database());
        end $$`,
      missing: (database) => [`CREATE on database ${database}: grant it to ${owner.name}`],
    },
    {
      what: "the right to enter the station's schema",
      change: () => `alter schema wxyc_schema owner to ${backend.name}`,
      missing: () => [`USAGE on schema wxyc_schema: grant it to ${owner.name}`],
    },
    {
      what: 'the right to read library',
      change: () => handOver('library'),
      missing: () => [`SELECT on wxyc_schema.library: grant it to ${owner.name}`],
    },
    {
      what: 'the right to read artists',
      change: () => handOver('artists'),
      missing: () => [`SELECT on wxyc_schema.artists: grant it to ${owner.name}`],
    },
    ...['select', 'update'].map((granted) => ({
      what: `one of two rights on compilation_track_artist, having ${granted}`,
      change: () => `
        ${handOver('compilation_track_artist')}
        grant ${granted} on wxyc_schema.compilation_track_artist to ${owner.name}`,
      missing: () => [
        `SELECT and UPDATE on wxyc_schema.compilation_track_artist: grant them to ${owner.name}`,
      ],
    })),
    {
      what: 'identity tables, and the right to create them',
      change: () => `
        ${DROP_IDENTITY_TABLES};
        alter schema wxyc_schema owner to ${backend.name};
        grant usage on schema wxyc_schema to ${owner.name}`,
      missing: () => [`CREATE on schema wxyc_schema: grant it to ${owner.name}`],
    },
    {
      what: 'identity tables, and the right to refer to library',
      change: () => `
        ${DROP_IDENTITY_TABLES};
        ${handOver('library')}
        grant select on wxyc_schema.library to ${owner.name}`,
      missing: () => [`REFERENCES on wxyc_schema.library: grant it to ${owner.name}`],
    },
    {
      what: 'several things, all named at once',
      change: () => `
        alter table wxyc_schema.library drop column legacy_release_id, drop column canonical_entity_id;
        ${handOver('artists')}`,
      missing: () => [
        'column legacy_release_id of wxyc_schema.library, of type integer',
        'column canonical_entity_id of wxyc_schema.library, of type text or character varying',
        `SELECT on wxyc_schema.artists: grant it to ${owner.name}`,
      ],
    },
  ];

  test.each(lacks.map((lack) => [lack.what, lack] as const))('that lacks %s', async (_what, lack) => {
    const database = await copy();
    await database.sql.unsafe(lack.change());
    await refused(database, lacking(lack.missing(database.name)));
  });

  test("that is not the station's", async () => {
    const database = await create();
    await refused(
      database,
      lacking([
        ...['library', 'artists', 'compilation_track_artist'].map(
          (table) => `table wxyc_schema.${table}: is this the station's database?`,
        ),
        "function wxyc_schema.fold_artist_name(text), which the backend's own migrations make",
      ]),
    );
  });

  test('that is in another encoding', async () => {
    const database = await create("template template0 encoding 'SQL_ASCII' locale 'C'");
    await connect(owner.into(database)).file(fileURLToPath(BACKEND));
    await refused(database, lacking(['a database in UTF8: this one is in SQL_ASCII']));
  });

  test('that has lost, since it was migrated, a column which the migrations made', async () => {
    const database = await copy();
    await migrate(owner.into(database));
    await database.sql`alter table wxyc_schema.library_identity drop column bandcamp_id cascade`;
    await refused(database, lacking(['column bandcamp_id of wxyc_schema.library_identity, of type text']));
  });

  test.each([
    [
      'a table',
      'insert into station_log (id) select new.library_id from wxyc_schema.library;',
      'station_log',
    ],
    ['a view', 'perform (select max(id) from shelves);', 'shelves'],
    ['a function', 'perform note_identity(new.library_id);', 'note_identity\\(\\)'],
  ])('whose triggers cannot run under the search_path of the writer: %s', async (_what, body, name) => {
    const database = await copy();
    const { sql } = database;
    await sql.unsafe(`
      create table public.station_log (id integer);
      create view public.shelves as select id from wxyc_schema.library;
      create function public.note_identity(integer) returns void language sql as '';
      create function public.watch() returns trigger language plpgsql as $$
      begin
        -- It writes no row of shelves, and says 'from station_log'.
        perform count(*), now() from wxyc_schema.library where 'from shelves' <> 'note_identity()';
        ${body}
        return new;
      end $$;
      create trigger watch after insert on wxyc_schema.library_identity
      for each row execute function public.watch();`);
    const refusal = await migrate(owner.into(database)).catch((error: postgres.PostgresError) => error);
    expect(refusal).toMatchObject({ code: 'LS005' });
    expect(refusal!.message).toMatch(
      new RegExp(
        `lacks: a search_path for function .*watch\\(\\), which the trigger watch of wxyc_schema.library_identity runs: ` +
          `it names ${name} without a schema; alter function .*watch\\(\\) set search_path = …$`,
      ),
    );

    await sql`alter function public.watch() set search_path = public`;
    await expect(migrate(owner.into(database))).resolves.toBeUndefined();
  });

  test('that a newer program has migrated', async () => {
    const database = await copy();
    await migrate(owner.into(database));
    await database.sql`
      insert into graphile_migrate.migrations (hash, previous_hash, filename)
      select 'sha1:of-a-later-day', max(hash), '000099-of-a-later-day.sql' from graphile_migrate.migrations`;
    await refused(database, {
      says: ['this database is newer than this program: it has 000099-of-a-later-day.sql'],
      hint: 'Deploy the version of identity-sync that made these migrations, or a newer one. Nothing was changed.',
    });
  });

  test('and the program says so, in words alone', async () => {
    const database = await copy();
    await database.sql.unsafe(handOver('library_identity'));
    const ended = await cli(['migrate'], { DATABASE_URL: owner.into(database) });
    expect(ended).toMatchObject({ status: 1, stdout: '' });
    expect(logOf(ended)).toMatchObject([
      {
        step: 'end',
        code: 'LS005',
        msg: expect.stringMatching(
          /^identity-sync: .*ownership of wxyc_schema\.library_identity.* Nothing was changed\.$/,
        ),
      },
    ]);
  });
});

test('every column that the product reads or writes is asked for', async () => {
  // Of what the backend brings, the product needs all but these.
  const IGNORED = [
    'artists.add_date',
    'artists.last_modified',
    'library.add_date',
    'library.code_artist_number',
    'library.code_letters',
    'library.code_number',
    'library.format_id',
    'library.genre_id',
    'library.last_modified',
    'library.unresolved_attempted_at',
    'library_identity.distinct_unresolved_sources',
    'library_identity_history.archived_at',
    'library_identity_history.superseded_at',
  ];
  const database = await copy();
  const { sql } = database;
  const columns = await sql`
    select relname as table, attname as column
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'wxyc_schema'::regnamespace and relkind = 'r' and relname not in ('genres', 'format')
      and attnum > 0 and not attisdropped
    order by relname, attname`;

  const preflight = await readFile(new URL('../../sql/preflight.sql', import.meta.url), 'utf8');
  const notAskedFor: string[] = [];
  await sql.begin(async (tx) => {
    await tx.unsafe(preflight);
    for (const { table, column } of columns) {
      const without = `alter table wxyc_schema.${table} drop column ${column} cascade`;
      if (!(await complains(tx, without))) notAskedFor.push(`${table}.${column}`);
    }
  });
  expect(notAskedFor).toEqual(IGNORED);
});

describe('no more is asked for than', () => {
  test('the identity tables, and the right to read the others and to link tracks', async () => {
    const database = await copy();
    await database.sql.unsafe(`
      ${handOver('library', 'artists', 'compilation_track_artist', 'genres', 'format')}
      alter schema wxyc_schema owner to ${backend.name};
      alter function wxyc_schema.fold_artist_name owner to ${backend.name};
      grant usage on schema wxyc_schema to ${owner.name};
      grant select on wxyc_schema.library, wxyc_schema.artists, wxyc_schema.compilation_track_artist to ${owner.name};
      grant update (track_artist_id) on wxyc_schema.compilation_track_artist to ${owner.name}`);
    await expect(migrate(owner.into(database))).resolves.toBeUndefined();
  });

  test('where there are none, the right to make them', async () => {
    const database = await copy();
    await database.sql.unsafe(`
      ${DROP_IDENTITY_TABLES};
      ${handOver('library', 'artists')}
      alter schema wxyc_schema owner to ${backend.name};
      grant usage, create on schema wxyc_schema to ${owner.name};
      grant select, references on wxyc_schema.library to ${owner.name};
      grant select on wxyc_schema.artists to ${owner.name}`);
    await expect(migrate(owner.into(database))).resolves.toBeUndefined();
  });
});

/** A database of the calling test's own, without anything in it, in which the login may create schemas. */
async function create(how?: string): Promise<TestDatabase> {
  const database = await createDatabaseFor([owner], how);
  onTestFinished(() => database.drop());
  return database;
}

/** The same with production in it. */
const copy = () => create(`template ${template.name}`);

/** Holds that migrating is refused in these words, and that the database is as it was. */
async function refused(database: TestDatabase, { says, hint }: { says: string[]; hint: string }) {
  const state = async () => ({
    catalogue: await systemCatalogue(database.sql),
    rows: await stationRows(database.sql),
  });
  const before = await state();
  const refusal = await migrate(owner.into(database)).catch((error: postgres.PostgresError) => error);
  expect(refusal).toMatchObject({ code: 'LS005', hint });
  // What is missing comes in any order.
  expect(refusal!.message.split(/ it lacks: |; /).sort()).toEqual(
    says.flatMap((part) => part.split('; ')).sort(),
  );
  expect(await state()).toEqual(before);
}

const lacking = (things: string[]) => ({
  says: ['this database is not ready,', ...things],
  hint: 'Nothing was changed.',
});

/** Whether the preflight, already defined in this transaction, refuses the database after a change, which is taken back. */
async function complains(tx: postgres.TransactionSql, change: string): Promise<boolean> {
  let refusal: { code?: string } | undefined;
  await tx
    .savepoint(async (attempt) => {
      await attempt.unsafe(change);
      await attempt`select pg_temp.check_before_migrating(known_migrations => '{}')`;
      throw new Error('no complaint');
    })
    .catch((error) => {
      refusal = error;
    });
  return refusal?.code === 'LS005';
}
