// What an operator's command does in one transaction, where its session is cut.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Sql } from '../../src/database/connect.js';
import { inTransaction } from '../../src/database/transaction.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();

const start = (work: (sql: Sql) => Promise<unknown>) =>
  inTransaction(database.url, { calls: 'plan_identity_run', dryRun: false }, work).catch(
    (error: { code: string }) => error.code,
  );

async function cut(pid: number): Promise<void> {
  await database.sql`select pg_terminate_backend(${pid}, 5000)`;
}

const pidOf = async (sql: Sql) => (await sql<[{ pid: number }]>`select pg_backend_pid() as pid`)[0].pid;

test('a session that is cut while it answers is an error of the command, and of nothing else', async () => {
  const told = await start(async (sql) => {
    const pid = await pidOf(sql);
    await Promise.all([sql`select pg_sleep(60)`, cut(pid)]);
  });
  expect(told).toMatch(/57P01|CONNECTION_CLOSED/);
  // What is thrown outside the command comes later.
  await sleep(100);
});

test('after a cut nothing is done on another session', async () => {
  const told = await start(async (sql) => {
    await cut(await pidOf(sql));
    await sleep(100);
    await sql`select identity_sync.pause_identity_planning(reason => 'outside the transaction')`;
  });
  expect(told).toBe('CONNECTION_CLOSED');
  expect(await database.sql`select from identity_sync.planning_hold`).toHaveLength(0);
});
