// A program that brings newer migrations than its database has seen says so.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

async function missing(known: string[]) {
  const [row] = await call<{ missing_migrations: number }>(database.sql, 'missing_migrations', { known });
  return row!.missing_migrations;
}

test('it counts the migrations that the database has not seen, and no other', async () => {
  const rows = await database.sql`select hash from graphile_migrate.migrations`;
  const seen = rows.map((row) => row.hash as string);
  expect(seen.length).toBeGreaterThan(1);

  expect(await missing(seen)).toBe(0);
  expect(await missing(seen.slice(1))).toBe(0);
  expect(await missing([...seen, 'sha1:of-tomorrow', 'sha1:of-the-day-after'])).toBe(2);
  expect(await missing([])).toBe(0);
});
