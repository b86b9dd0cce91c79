import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

/** Whether the empty report with these numbers adds up, for so many ids requested and results that were not. */
async function addsUp(numbers: Record<string, number>, requested: number, unrequested: number, without = '') {
  const [row] = await database.sql`
    select identity_sync_private.report_adds_up(
      (identity_sync_private.empty_report() || ${JSON.stringify(nest(numbers))}::text::jsonb) - ${without}::text,
      ${requested}, ${unrequested}) as adds_up`;
  return row!.adds_up;
}

const SKIPPED = [
  ...['compilation', 'lml_error', 'writer_error', 'lml_cardinality_mismatch', 'lml_untrusted_library_id'],
  ...['invalid_verdict', 'manual_precedence', 'stale_verdict', 'library_gone', 'poison_input'],
];

/** A report's numbers with those keys nested that are. */
function nest({ skipped = 0, inserted = 0, ...numbers }: Record<string, number>) {
  const zeros = Object.fromEntries(SKIPPED.map((key) => [key, 0]));
  return {
    ...numbers,
    rows_skipped: { ...zeros, lml_error: skipped },
    identity: { inserted, changed: 0, unchanged: 0 },
  };
}

test.each([
  [{ scanned: 3, rows_resolved: 1, inserted: 1, rows_unresolved: 1, skipped: 1 }, 3, 0, true],
  [{ scanned: 3, rows_resolved_compilation: 2, skipped: 1 }, 2, 1, true],
  [{ scanned: 3, rows_unresolved: 2 }, 3, 0, false],
  [{ scanned: 3, rows_unresolved: 3 }, 2, 0, false],
  [{ scanned: 1, rows_resolved: 1, inserted: 0 }, 1, 0, false],
])('%j of %i requested and %i more: %s', async (numbers, requested, unrequested, expected) => {
  expect(await addsUp(numbers as Record<string, number>, requested, unrequested)).toBe(expected);
});

test('a report that lacks a key does not add up', async () => {
  expect(await addsUp({ scanned: 0 }, 0, 0)).toBe(true);
  expect(await addsUp({ scanned: 0 }, 0, 0, 'source')).toBe(false);
  const [row] = await database.sql`select identity_sync_private.report_adds_up(null, 0, 0) as adds_up`;
  expect(row!.adds_up).toBe(false);
});
