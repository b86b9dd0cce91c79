// PostgreSQL goes away for a moment: what was begun is finished, and nothing is requested twice.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, plan } from '../support/catalogue.js';
import { killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import {
  type BreakableServer,
  cutSessions,
  identified,
  NEVER,
  reportOf,
  runOf,
  shelveMany,
  startServerToBreak,
} from '../support/faults.js';

const BATCHES = 30;

let lml: StandIn;
const settings = (url: string) => ({
  DATABASE_URL: url,
  LIBRARY_METADATA_URL: lml.url,
  BATCH_SIZE: '2',
  LML_TIMEOUT_MS: '2000',
  PLAN_CRON: NEVER,
});

beforeEach(async () => {
  lml = await startStandIn({ identities: loadIdentities(), latencyMs: 100 });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
});

/** What must be true of a run that met trouble: it is complete, every row is written, and each was requested once. */
async function expectAllIsWell(sql: postgres.Sql, ids: number[]) {
  expect(await runOf(sql)).toMatchObject({ outcome: 'completed' });
  expect(await reportOf(sql)).toMatchObject({ scanned: ids.length, rows_resolved: ids.length, left: 0 });
  expect(await identified(sql)).toEqual(ids);
  expect(await candidates(sql)).toEqual([]);
  expect([...lml.askedIds()].sort(([one], [other]) => one - other)).toEqual(ids.map((id) => [id, 1]));
}

// A lane that is cut off with a batch in hand delays it by its lease and the next rescue: 21 seconds at most.
const callsAre = (count: number) => expect.poll(() => lml.calls.length).toBeGreaterThanOrEqual(count);

describe('all sessions cut, again and again,', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cloneDatabase();
  });
  afterEach(() => database.drop());

  test.each(['run', 'worker'])('a %s carries its run to the end, and asks nothing twice', async (command) => {
    const ids = await shelveMany(database.sql, BATCHES * 2);
    await plan(database.sql, { batch_size: 2 });
    const running = startCli([command], settings(database.url));
    let cut = 0;
    for (let time = 1; time <= 10; time++) {
      await callsAre(time * 2);
      await sleep(Math.random() * 100);
      cut += await cutSessions(database.sql);
    }
    expect(cut).toBeGreaterThan(20);

    await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('completed');
    await expectAllIsWell(database.sql, ids);
    if (command === 'worker') running.signal('SIGTERM');
    expect(await running.endsWithin(10_000)).toMatchObject({ status: 0 });
  });
});

describe('a server that goes away', () => {
  let server: BreakableServer;
  let sql: postgres.Sql;

  beforeAll(async () => {
    server = await startServerToBreak(18);
    sql = postgres(server.url, { max: 1, onnotice: () => {} });
  });
  afterAll(async () => {
    await sql.end({ timeout: 1 });
    await server.end();
  });
  beforeEach(() => sql`truncate wxyc_schema.library, identity_sync.run cascade`);

  test.each(['run', 'worker'])(
    'three times: a %s carries its run to the end, and asks nothing twice',
    async (command) => {
      const ids = await shelveMany(sql, BATCHES * 2);
      await plan(sql, { batch_size: 2 });
      const running = startCli([command], settings(server.url));
      for (const [index, mode] of (['fast', 'immediate', 'fast'] as const).entries()) {
        await callsAre((index + 1) * 6);
        await server.restart(mode);
      }

      await expect.poll(async () => (await runOf(sql)).outcome).toBe('completed');
      await expectAllIsWell(sql, ids);
      if (command === 'worker') running.signal('SIGTERM');
      expect(await running.endsWithin(15_000)).toMatchObject({ status: 0 });
    },
  );
});
