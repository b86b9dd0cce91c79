// The webhook hears of a run that ended badly and of a hold that began, once, and holds nothing up.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect } from 'vitest';
import { call, plan, shelve } from '../support/catalogue.js';
import { test } from '../support/test.js';

const SECRET = 'hook-7f3a';
const servers: ReturnType<typeof createServer>[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

interface Received {
  alert: string;
  text: string;
  run?: { run_id: number; outcome: string };
  hold?: { name: string };
}

/** A webhook that keeps what it gets, and answers unless it shall hang, or never end its answer. */
async function hook({ hangs = false, endless = false, status = 200 } = {}) {
  const received: Received[] = [];
  const heldMs: number[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    received.push(JSON.parse(body));
    if (endless) {
      response.writeHead(status).write('thanks, and');
      const began = performance.now();
      response.once('close', () => heldMs.push(performance.now() - began));
    }
    if (!hangs && !endless) response.writeHead(status, { location: '/elsewhere' }).end();
  }).listen(0);
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  return { received, heldMs, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${SECRET}` };
}

test('two workers send an alert of a run that failed and of a hold, each once, and none of a run that did well', async ({
  cli,
  database: { sql },
}) => {
  const { received, url } = await hook();
  await plan(sql);
  await Promise.all([cli.worker({ ALERT_WEBHOOK_URL: url }), cli.worker({ ALERT_WEBHOOK_URL: url })]);
  await shelve(sql, 'Autechre');
  const runId = await plan(sql, { scheduled: true });
  await call(sql, 'pause_identity_planning', { reason: 'LML is being moved' });
  await call(sql, 'stop_identity_run', { run_id: runId, reason: 'LML refused the key', cause: 'key' });

  await expect.poll(() => received.length).toBe(2);
  // Both look every five seconds.
  await new Promise((resolve) => setTimeout(resolve, 6000));
  expect(received.map(({ alert }) => alert).sort()).toEqual(['hold_began', 'run_ended_badly']);
  expect(received.find(({ run }) => run)).toMatchObject({
    text: `library-identity-sync: run ${runId} failed: LML refused the key`,
    run: { run_id: Number(runId), outcome: 'failed' },
  });
  expect(received.find(({ hold }) => hold)).toMatchObject({ hold: { name: 'paused' } });
});

test('a webhook that hangs keeps a run no longer than five seconds, and is never named', async ({
  cli,
  database,
}) => {
  const { received, url } = await hook({ hangs: true });
  await shelve(database.sql, 'Autechre');
  const began = performance.now();
  const { status, stdout, stderr } = await cli.run(['run'], {
    ALERT_WEBHOOK_URL: url,
    LIBRARY_METADATA_URL: 'http://127.0.0.1:9',
    LML_MAX_TRIES: '1',
  });
  expect(performance.now() - began).toBeLessThan(60_000);
  expect(status).toBe(1);
  expect(received).toMatchObject([{ alert: 'run_ended_badly' }]);
  expect(stderr).toContain('an alert could not be sent to the webhook (TimeoutError)');
  expect(stdout + stderr).not.toContain(SECRET);
  expect(stdout + stderr).not.toContain(new URL(url).port);
});

test('a webhook whose answer never ends does not keep the process', async ({ cli, database }) => {
  const { heldMs, url } = await hook({ endless: true });
  await shelve(database.sql, 'Autechre');
  const { stderr } = await cli.run(['run'], {
    ...{ ALERT_WEBHOOK_URL: url, LIBRARY_METADATA_URL: 'http://127.0.0.1:9', LML_MAX_TRIES: '1' },
  });
  expect(stderr).toContain('an alert was sent');
  // To read on would take the five seconds that a webhook has.
  expect(heldMs).toEqual([expect.any(Number)]);
  expect(heldMs[0]).toBeLessThan(4000);
});

test('a webhook that redirects or is not there changes nothing about a run', async ({ cli, database }) => {
  const { received, url } = await hook({ status: 302 });
  await shelve(database.sql, 'Autechre');
  const settings = { LIBRARY_METADATA_URL: 'http://127.0.0.1:9', LML_MAX_TRIES: '1' };
  const redirected = await cli.run(['run'], { ...settings, ALERT_WEBHOOK_URL: url });
  expect(redirected.stderr).toContain('an alert was not taken by the webhook (302)');
  expect(received).toHaveLength(1);
  const gone = await cli.run(['run'], { ...settings, ALERT_WEBHOOK_URL: `http://127.0.0.1:1/${SECRET}` });
  expect(gone.status).toBe(1);
  expect(gone.stdout + gone.stderr).not.toContain(SECRET);
});

test('a URL that is none is refused without being shown', async ({ cli }) => {
  const { status, stderr } = await cli.run(['run'], {
    ALERT_WEBHOOK_URL: `https://user:${SECRET}@example.org/`,
  });
  expect(status).toBe(2);
  expect(stderr).toContain('ALERT_WEBHOOK_URL is not usable');
  expect(stderr).not.toContain(SECRET);
});
