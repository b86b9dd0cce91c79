// The database against the model, over histories at random. MODEL_HISTORIES says how many; a failure prints its seed,
// which FC_SEED takes, and its history in the smallest form, which goes to the examples.
import { beforeAll, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import fc from '../support/fast-check.js';
import { reported } from '../support/report.js';
import { runHistory, seen, shelve } from './driver.js';
import { EXAMPLES } from './examples.js';
import { history } from './histories.js';

const database = useDatabase();
const numRuns = Number(process.env.MODEL_HISTORIES ?? 300);

// The suite must not depend on luck: its histories are the same each time. By hand they are others.
const isByHand = process.env.MODEL_HISTORIES !== undefined || process.env.FC_SEED !== undefined;
const seed = isByHand ? {} : { seed: 20_261_127 };

beforeAll(() => shelve(database.sql));

test.each(Object.entries(EXAMPLES))('%s', (_, steps) => runHistory(database.sql, steps));

test('after every step of a history the tables are what the contract says', async () => {
  await fc.assert(
    fc.asyncProperty(history, (steps) => runHistory(database.sql, steps)),
    { numRuns, ...seed },
  );
  // A history in which nothing happens proves nothing; some figures need more luck than a few hundred have.
  if (numRuns >= 2000) expect(figures(reported({})).filter((path) => !seen.has(path))).toEqual([]);
}, 3_600_000);

/** The paths of a report's numbers. */
function figures(report: object): string[] {
  return Object.entries(report).flatMap(([key, value]) =>
    typeof value === 'number' ? [key] : figures(value as object).map((path) => `${key}.${path}`),
  );
}
