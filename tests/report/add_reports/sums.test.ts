import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['{"a": 1, "b": {"c": 2}}', '{"a": 10, "b": {"c": 20}}', { a: 11, b: { c: 22 } }],
  [null, '{"a": 1}', { a: 1 }],
  ['{"a": 1}', null, { a: 1 }],
  ['{"a": 2147483647}', '{"a": 2147483647}', { a: 4294967294 }],
])('%s and %s', async (total, report, sum) => {
  const [row] = await database.sql`
    select identity_sync_private.add_reports(${total}::text::jsonb, ${report}::text::jsonb) as sum`;
  expect(row!.sum).toEqual(sum);
});
