// A statement of the writer means certain rows; fewer or more of them are an error that says so.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const assertRowCount = (meant: number, touched: number) =>
  database.sql`select identity_sync_private.assert_row_count('a change of sources', ${meant}, ${touched})`;

test.each([0, 3])('as many rows as were meant pass: %d', async (rows) => {
  await assertRowCount(rows, rows);
});

test.each([
  [3, 2],
  [3, 4],
  [0, 1],
])('%d rows were meant and %d touched: that raises LS006, with both figures', async (meant, touched) => {
  await expect(assertRowCount(meant, touched)).rejects.toMatchObject({
    code: 'LS006',
    message: expect.stringContaining(`a change of sources: ${touched} of ${meant} rows`),
  });
});
