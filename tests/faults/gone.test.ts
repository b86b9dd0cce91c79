// PostgreSQL goes away for good: a worker ends instead of pretending to be at work.
import { expect, test } from 'vitest';
import { startCli } from '../support/cli.js';
import { NEVER, startServerToBreak } from '../support/faults.js';

test('a worker whose database is gone for good ends by itself within two minutes, and not well', async () => {
  const server = await startServerToBreak(18);
  const lml = { LIBRARY_METADATA_URL: 'http://127.0.0.1:1' };
  const worker = startCli(['worker'], { DATABASE_URL: server.url, PLAN_CRON: NEVER, ...lml });
  await worker.says('the worker is up');
  await server.end();

  const ended = await worker.endsWithin(125_000).finally(() => worker.signal('SIGKILL'));
  expect(ended.status).toBe(1);
  expect(ended.stderr).toContain('identity-sync: ');
});
