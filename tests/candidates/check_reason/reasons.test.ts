// An act by hand says why, and is refused in the same words wherever it does not.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const check = (reason: string | null) =>
  database.sql`select identity_sync_private.check_reason(reason => ${reason})`;

test.each([
  [null, 'reason is NULL'],
  ['', "reason is ''"],
  ['  ', "reason is '  '"],
  ['\n\u00a0', "reason is '\n\u00a0'"],
])('%j is no reason', async (reason, message) => {
  await expect(check(reason)).rejects.toMatchObject({
    code: 'LS001',
    message,
    hint: 'Allowed: a text that says why; it is kept.',
  });
});

test('a text is one', async () => {
  await check('two acts of one name');
});
