// A network that swallows what passes: sockets stay open, and no answer comes any more.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { plan } from '../support/catalogue.js';
import { freePort, openProxy, reportOf, runOf, shelveMany, type TcpProxy } from '../support/faults.js';
import { test as base } from '../support/test.js';

const test = base
  .override('answers', { latencyMs: 200 })
  .extend('proxy', async ({ database }, { onCleanup }): Promise<TcpProxy> => {
    const proxy = await openProxy(database.url);
    onCleanup(() => proxy.shut());
    return proxy;
  });

const FEW = { BATCH_SIZE: '1', LML_TIMEOUT_MS: '2000' };

test('the worker says so within a minute, and a second signal ends it within two seconds', async ({
  cli,
  database,
  lml,
  proxy,
}) => {
  await shelveMany(database.sql, 200);
  await plan(database.sql, { batch_size: 1 });
  const port = await freePort();
  const worker = await cli.worker({ ...FEW, DATABASE_URL: proxy.url, HEALTH_PORT: port });
  await expect.poll(() => lml.calls.length).toBeGreaterThan(4);

  // New sessions get through: a probe that opened one would see nothing.
  proxy.swallow('these');
  const swallowedAt = performance.now();
  await expect
    .poll(async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).json(), { interval: 500 })
    .toMatchObject({
      ok: false,
      database: { reason: expect.stringContaining('a query has waited for its answer') },
    });
  expect(performance.now() - swallowedAt).toBeLessThan(60_000);

  worker.signal('SIGTERM');
  await sleep(500);
  worker.signal('SIGTERM');
  await worker.endsWithin(4000);
});

test('one signal ends the worker within 15 seconds, though nothing can be given back', async ({
  cli,
  database,
  lml,
  proxy,
}) => {
  await shelveMany(database.sql, 200);
  await plan(database.sql, { batch_size: 1 });
  const worker = await cli.worker({ ...FEW, DATABASE_URL: proxy.url });
  await expect.poll(() => lml.calls.length).toBeGreaterThan(4);
  proxy.swallow('all');
  await sleep(500);
  worker.signal('SIGTERM');
  await worker.endsWithin(17_000);
});

test('a run whose sessions fall silent is carried to its end by new ones, and asks nothing twice', async ({
  cli,
  database,
  lml,
  proxy,
}) => {
  const ids = await shelveMany(database.sql, 20);
  const run = cli.start(['run'], { ...FEW, DATABASE_URL: proxy.url });
  await expect.poll(() => lml.calls.length).toBeGreaterThan(4);
  proxy.swallow('these');
  expect(await run.endsWithin(110_000)).toMatchObject({ status: 0 });
  expect(await runOf(database.sql)).toMatchObject({ outcome: 'completed' });
  expect(await reportOf(database.sql)).toMatchObject({ scanned: ids.length, rows_resolved: ids.length });
  expect([...lml.askedIds()].sort(([one], [other]) => one - other)).toEqual(ids.map((id) => [id, 1]));
});
