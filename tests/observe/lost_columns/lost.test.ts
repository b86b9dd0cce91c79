// A column that the service needs is noticed as soon as it is gone, and no other is asked for.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

// Of what the backend and the migrations bring, the service needs all but these.
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

test('it names each column that is gone, of those which the service needs, and a whole table', async () => {
  const { sql } = database;
  const rows = await sql`
    select relname || '.' || attname as name
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'wxyc_schema'::regnamespace and relkind = 'r' and relname not in ('genres', 'format')
      and attnum > 0 and not attisdropped
    order by 1`;
  const columns = rows.map(({ name }) => name as string);
  const lost = async () => (await sql`select identity_sync.lost_columns() as lost`)[0]!.lost as string[];
  expect(await lost()).toEqual([]);

  const unnoticed: string[] = [];
  for (const column of columns) {
    const [table, name] = column.split('.');
    await sql.unsafe(`alter table wxyc_schema.${table} rename ${name} to gone`);
    const named = await lost();
    if (named.length === 0) unnoticed.push(column);
    else expect(named).toEqual([column]);
    await sql.unsafe(`alter table wxyc_schema.${table} rename gone to ${name}`);
  }
  expect(unnoticed).toEqual(columns.filter((column) => IGNORED.includes(column)));

  await sql`alter table wxyc_schema.artists rename to performers`;
  expect(await lost()).toEqual(['artists.artist_name', 'artists.id']);
});
