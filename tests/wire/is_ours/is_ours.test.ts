// Whose a row is, by its notes: the service's and a repair's are ours.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['consumer:lml-bulk', true],
  ['repair:', true],
  ['repair:music-director', true],
  ['consumer:lml-bulk ', false],
  ['consumer:other', false],
  ['a repair: by hand', false],
  ['Repair:music-director', false],
  ['', false],
  [null, null],
])('notes %j: %j', async (notes, expected) => {
  const [row] = await database.sql`select identity_sync_private.is_ours(${notes}) as ours`;
  expect(row!.ours).toBe(expected);
});
