// While the database is away, the log says so once, and once that it is back; what graphile-worker's sessions meet is the same.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { logOf } from '../support/cli.js';
import { openProxy } from '../support/faults.js';
import { test } from '../support/test.js';

test('a worker says once that the database is away, and once that it is back', async ({ database, cli }) => {
  const proxy = await openProxy(database.url);
  const worker = await cli.worker({ DATABASE_URL: proxy.url });
  await proxy.shut();
  await worker.says('the database is away, trying again: ');
  await sleep(3000);
  await proxy.open();
  await worker.says('the database is back after ');
  await sleep(1000);
  worker.signal('SIGTERM');
  const ended = await worker.ended;
  await proxy.shut();

  expect(ended.status).toBe(0);
  const lines = logOf(ended).filter(({ step }) => step !== 'stop' && step !== 'report');
  expect(lines.map(({ msg }) => msg)).toEqual([
    'the worker is up',
    expect.stringMatching(/^the database is away, trying again: /),
    expect.stringMatching(/^the database is back after [\d.]+ m?s$/),
    'the worker is down',
  ]);
});
