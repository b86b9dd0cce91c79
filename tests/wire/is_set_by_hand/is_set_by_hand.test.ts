// Which main rows the service leaves alone: a repair's, and those of method manual that the service did not write.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['exact_match', 'repair:music-director', true],
  [null, 'repair:', true],
  ['manual', 'repair:music-director', true],
  ['manual', 'set by the librarian', true],
  ['manual', null, true],
  ['manual', 'consumer:lml-bulk', false],
  ['exact_match', 'consumer:lml-bulk', false],
  ['exact_match', 'set by the librarian', false],
  ['exact_match', null, false],
  [null, null, false],
])('method %j and notes %j: %j', async (method, notes, expected) => {
  const [row] = await database.sql`
    select coalesce(identity_sync_private.is_set_by_hand(${method}, ${notes}), false) as by_hand`;
  expect(row!.by_hand).toBe(expected);
});
