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

/** Figures that need more luck than 300 histories have. */
const RARE = [
  'rows_skipped.poison_input',
  'compilation_track.unlinked',
  'compilation_track.ambiguous_position',
];

beforeAll(() => shelve(database.sql));

test.each(Object.entries(EXAMPLES))('%s', (_, steps) => runHistory(database.sql, steps));

test('after every step of a history the tables are what the contract says', async () => {
  await fc.assert(
    fc.asyncProperty(history, (steps) => runHistory(database.sql, steps)),
    { numRuns },
  );
  // A history in which nothing happens proves nothing.
  if (numRuns >= 300)
    expect(figures(reported({})).filter((path) => !seen.has(path) && !RARE.includes(path))).toEqual([]);
}, 3_600_000);

/** The paths of a report's numbers. */
function figures(report: object): string[] {
  return Object.entries(report).flatMap(([key, value]) =>
    typeof value === 'number' ? [key] : figures(value as object).map((path) => `${key}.${path}`),
  );
}
