import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

/** The shortest and the longest of a thousand pauses, in seconds. */
async function rangeOf(tries: number) {
  const [row] = await database.sql<[{ shortest: number; longest: number }]>`
    select
      min(extract(epoch from identity_sync_private.backoff(${tries})))::float8 as shortest,
      max(extract(epoch from identity_sync_private.backoff(${tries})))::float8 as longest
    from generate_series(1, 1000)`;
  return row;
}

test.each([
  [0, 0.5],
  [1, 1],
  [3, 4],
  [5, 16],
  [6, 30],
  [10, 30],
  // A deferral has no bound, and 2 ^ 1024 is more than a double holds.
  [1024, 30],
  [2_000_000_000, 30],
])('sent back %i times before, a batch waits %d seconds, a quarter more or less', async (tries, seconds) => {
  const { shortest, longest } = await rangeOf(tries);
  expect(shortest).toBeGreaterThanOrEqual(seconds * 0.75);
  expect(longest).toBeLessThanOrEqual(seconds * 1.25);
  // Batches that failed together do not come back together.
  expect(longest - shortest).toBeGreaterThan(seconds * 0.4);
});
