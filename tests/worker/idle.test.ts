// Where there is nothing to do yet, little is said to the database, with THROTTLE_MS=0 as well.
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { expect } from 'vitest';
import { plan, tryToClaim } from '../support/catalogue.js';
import { openProxy, shelveMany, type TcpProxy } from '../support/faults.js';
import { test as base } from '../support/test.js';

/** Besides, a way to the database that counts what is said to it. */
const test = base.extend('proxy', async ({ database }, { onCleanup }) => {
  const proxy = await openProxy(database.url);
  onCleanup(() => proxy.shut());
  return proxy;
});

/** How many messages go to the database in a second, on the average over a few. */
async function messagesPerSecond(proxy: TcpProxy): Promise<number> {
  const seconds = 3;
  const before = proxy.messages;
  await sleep(seconds * 1000);
  return (proxy.messages - before) / seconds;
}

test('a worker with an empty queue looks into it about once a second and thread', async ({ proxy, cli }) => {
  await cli.worker({ DATABASE_URL: proxy.url });
  const rate = await messagesPerSecond(proxy);
  expect(rate).toBeGreaterThan(1);
  expect(rate).toBeLessThan(15);
});

test('lanes whose places are taken elsewhere ask about ten times a second', async ({
  database,
  lml,
  proxy,
  cli,
}) => {
  await shelveMany(database.sql, 5);
  const runId = await plan(database.sql, { batch_size: 1 });
  for (const leased_by of ['elsewhere:1', 'elsewhere:2'])
    await tryToClaim(database.sql, runId, { leased_by });
  await cli.worker({ DATABASE_URL: proxy.url });
  await expect.poll(() => lanesAtWork(database.sql)).toBe(2);

  const rate = await messagesPerSecond(proxy);
  expect(rate).toBeGreaterThan(5);
  expect(rate).toBeLessThan(50);
  expect(lml.calls).toEqual([]);
});

test('lanes of a run that pauses go away until then', async ({ database, lml, proxy, cli }) => {
  await shelveMany(database.sql, 5);
  lml.respondWith(() => ({ status: 429, headers: { 'retry-after': '600' } }));
  await cli.worker({ DATABASE_URL: proxy.url });
  await plan(database.sql, { batch_size: 1 });
  await expect.poll(() => lml.calls.length).toBeGreaterThan(0);
  await expect.poll(() => lanesAtWork(database.sql)).toBe(0);

  expect(await messagesPerSecond(proxy)).toBeLessThan(15);
});

async function lanesAtWork(sql: postgres.Sql): Promise<number> {
  const jobs = await sql`select from graphile_worker.jobs where locked_at is not null`;
  return jobs.length;
}
