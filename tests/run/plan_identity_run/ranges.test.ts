// What a run may be planned with; the selection of rows is checked by validate_selection.
import { expect, test } from 'vitest';
import { plan } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['batch_size', 0],
  ['batch_size', 1001],
  ['va_batch_size', 0],
  ['va_batch_size', 1001],
  ['lanes', 0],
  ['lanes', 33],
  ['deadline_minutes', 0],
  ['deadline_minutes', 1441],
  ['call_budget', 0],
])('%s %i is refused by its name, and no run is opened', async (name, value) => {
  await expect(plan(database.sql, { [name]: value })).rejects.toMatchObject({
    code: 'LS001',
    message: expect.stringContaining(`${name} is ${value}`),
  });
  expect(await database.sql`select from identity_sync.run`).toHaveLength(0);
});
