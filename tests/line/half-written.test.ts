// A session is cut in the very moment in which a query is put into it.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'vitest';
import { connectDatabase } from '../../src/database/connect.js';
import { openProxy } from '../support/faults.js';
import { test } from '../support/test.js';

const ENOUGH_MS = 5000;

test('costs that query alone, and the next one is answered at once', async ({ database, onTestFinished }) => {
  const proxy = await openProxy(database.url);
  const sql = connectDatabase(proxy.url, 1);
  onTestFinished(async () => {
    await sql.end();
    await proxy.shut();
  });

  for (let time = 0; time < 24; time++) {
    await sql`select 1`;
    await proxy.shut();
    await proxy.open();
    // The end of the session is heard within the next few turns of the event loop, before or after the query is sent.
    for (let turn = 0; turn < time % 8; turn++) await nextTurn();
    await sql`select 2`.catch(() => {});
    const asked = performance.now();
    await sql`select 3`.catch(() => {});
    expect(performance.now() - asked).toBeLessThan(ENOUGH_MS);
  }
});
