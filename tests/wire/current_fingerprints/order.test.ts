import { expect, test } from 'vitest';
import { shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('each library has its own, in the order of the ids; one that cannot be asked has none', async () => {
  const { sql } = database;
  const ids = [
    await shelve(sql, { artist: 'Stereolab', title: 'Dots and Loops' }),
    await shelve(sql, { artist: ' ', title: 'Untitled' }),
    4_000_000,
    await shelve(sql, { artist: 'Autechre', title: 'Confield' }),
  ].reverse();
  const [row] = await sql`
    select identity_sync_private.current_fingerprints(${ids}) = array[
      identity_sync_private.fingerprint(${ids[0]!}, 'Autechre', 'Confield'), null, null,
      identity_sync_private.fingerprint(${ids[3]!}, 'Stereolab', 'Dots and Loops')
    ] as is_right`;
  expect(row).toEqual({ is_right: true });
});
