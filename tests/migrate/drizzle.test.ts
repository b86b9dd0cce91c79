// The station's own migrations, made with drizzle, name three columns that ours add: both orders work, as README.md says.
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { createDatabase } from '../support/database.js';
import { buildProduction, STEREOLAB } from '../support/production.js';
import { readText } from '../support/repository.js';

const edited = /^ +```sql\n([\s\S]*?)```/m.exec(readText('README.md').split('## Production')[1]!)![1]!;

// What drizzle-kit 0.31.11 makes, once a schema file that it has a snapshot of is given the columns.
const generated = [
  ['library_identity', 'discogs_artist_id" integer'],
  ['library_identity', 'musicbrainz_artist_id" text'],
  ['library_identity', 'bandcamp_id" text'],
  ['library_identity_history', 'discogs_artist_id" integer'],
  ['library_identity_history', 'musicbrainz_artist_id" text'],
  ['library_identity_history', 'bandcamp_id" text'],
]
  .map(([table, column]) => `ALTER TABLE "wxyc_schema"."${table}" ADD COLUMN "${column};`)
  .join('--> statement-breakpoint\n');

test('theirs first, as drizzle generates it: ours finds the columns there and fills them', async () => {
  const { sql, url } = await production();
  await sql.unsafe(generated);
  await migrate(url);
  expect(await columns(sql)).toEqual(COLUMNS);
  const [known] = await sql`
    select discogs_artist_id is not null as is_filled from wxyc_schema.library_identity where library_id = ${STEREOLAB}`;
  expect(known).toEqual({ is_filled: true });
});

test('ours first: what drizzle generates fails, and what README.md shows changes nothing', async () => {
  const { sql, url } = await production();
  await migrate(url);
  expect(await sql.unsafe(generated).catch(({ code }: postgres.PostgresError) => code)).toBe('42701');
  await sql.unsafe(edited);
  expect(await columns(sql)).toEqual(COLUMNS);
});

test('README.md shows what drizzle generates with two edits: the guard comment and IF NOT EXISTS', () => {
  const [guard, ...statements] = edited.trim().split(/\n */);
  expect(guard).toMatch(/^-- precondition-guard: not-required \(.+\)$/);
  expect(statements.join('\n').replaceAll(' IF NOT EXISTS', '')).toBe(generated);
});

const COLUMNS = ['library_identity', 'library_identity_history'].flatMap((table) => [
  { table, column: 'bandcamp_id', type: 'text' },
  { table, column: 'discogs_artist_id', type: 'integer' },
  { table, column: 'musicbrainz_artist_id', type: 'text' },
]);

function columns(sql: postgres.Sql) {
  return sql`
    select table_name as table, column_name as column, data_type as type from information_schema.columns
    where table_schema = 'wxyc_schema' and column_name in ('discogs_artist_id', 'musicbrainz_artist_id', 'bandcamp_id')
    order by 1, 2`;
}

/** Production as it is before either migration. */
async function production() {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const owner = postgres(database.url, { max: 1, onnotice: () => {} });
  await buildProduction(owner, 10).finally(() => owner.end());
  return database;
}
