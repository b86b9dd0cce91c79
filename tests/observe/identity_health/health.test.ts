import { once } from 'node:events';
import { type Server as HttpServer, request } from 'node:http';
import { type AddressInfo, connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type HealthServer, startHealthServer } from '../../../src/observe/health-server.js';
import { connectProbes, type ProbeSettings } from '../../../src/observe/probes.js';
import { call, claim, plan, resolveAll, settle, shelve, shelveAll } from '../../support/catalogue.js';
import { cloneDatabase, connect, useDatabase, useLogin } from '../../support/database.js';
import { useRoles } from '../../support/roles.js';

const SETTINGS: ProbeSettings = {
  maxAgeHours: 26,
  migrations: [],
  LML_TIMEOUT_MS: 30_000,
  THROTTLE_MS: 100,
  STATUS_PAGE: false,
  STALE_THRESHOLD_DAYS: 7,
  UNRESOLVED_RETRY_DAYS: 30,
  INCLUDE_NULL_CANONICAL: false,
};

// Two calls' bound, the pause of a lane and a minute.
const SILENCE_SECONDS = 120;

const roles = useRoles();
const worker = useLogin();
const stranger = useLogin();
const database = useDatabase();
let closing: (() => Promise<unknown>)[];

beforeEach(async () => {
  closing = [];
  await database.sql`truncate identity_sync.run, identity_sync.planning_hold, wxyc_schema.library cascade`;
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});

describe('/healthz', () => {
  test('is well after a run that succeeded lately, and says how old that is', async () => {
    await succeed();
    await age('finished_at', '25 hours 59 minutes');
    expect(await healthz()).toEqual({
      status: 200,
      body: {
        ok: true,
        database: { ok: true },
        last_success: {
          ok: true,
          finished_at: expect.stringMatching(/^20/),
          age_seconds: near(25 * 3600 + 59 * 60),
          limit_seconds: 26 * 3600,
        },
        lanes: { ok: true, open_runs: 0, silent_seconds: null, limit_seconds: SILENCE_SECONDS },
        planning_holds: [],
      },
    });
  });

  test('is not well once the last success is older than its limit', async () => {
    await succeed();
    await age('finished_at', '26 hours 1 minute');
    expect(await healthz()).toMatchObject({
      status: 503,
      body: {
        ok: false,
        last_success: { ok: false, age_seconds: near(26 * 3600 + 60) },
        lanes: { ok: true },
      },
    });
  });

  test('takes the limit that suits the crontab', async () => {
    await succeed();
    await age('finished_at', '26 hours 1 minute');
    expect(await healthz({ maxAgeHours: 27 })).toMatchObject({
      status: 200,
      body: { last_success: { limit_seconds: 27 * 3600 } },
    });
  });

  test.each<[string, () => Promise<unknown>]>([
    ['a dry run', () => plan(database.sql, { dry_run: true })],
    ['a run of ids named by hand', () => plan(database.sql, { scope: 'ids', ids: [512] })],
    ['a run that failed', () => fail()],
  ])('%s is no success', async (_, run) => {
    await succeed();
    await age('finished_at', '27 hours');
    await run();
    expect(await healthz()).toMatchObject({
      status: 503,
      body: { last_success: { ok: false, age_seconds: near(27 * 3600) } },
    });
  });

  test('is well where there never was a run, as long as a success could not be there yet', async () => {
    expect(await healthz()).toMatchObject({
      status: 200,
      body: {
        last_success: {
          ok: true,
          finished_at: null,
          age_seconds: near(Math.floor(performance.now() / 1000), 60),
        },
      },
    });
    const yesterday = { process_started_at: new Date(Date.now() - 27 * 3_600_000).toISOString() };
    expect(await health(yesterday)).toMatchObject({
      last_success: { ok: false, age_seconds: near(27 * 3600) },
    });
  });

  test('is not well where run after run failed, however young the process is', async () => {
    await fail();
    await age('started_at', '27 hours');
    expect(await healthz()).toMatchObject({
      status: 503,
      body: { last_success: { ok: false, finished_at: null, age_seconds: near(27 * 3600) } },
    });
  });

  describe('while a run is open', () => {
    let runId: string;

    beforeEach(async () => {
      await succeed();
      await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
      runId = await plan(database.sql, { batch_size: 1 });
    });

    /** Lets as much time pass over all that the run did so far. */
    async function passed(time: string) {
      await database.sql`
        update identity_sync.run set started_at = started_at - ${time}::interval where finished_at is null`;
      await database.sql`
        update identity_sync.batch
        set closed_at = closed_at - ${time}::interval, leased_until = leased_until - ${time}::interval`;
      await database.sql`
        update identity_sync.lml_call
        set started_at = started_at - ${time}::interval, answered_at = answered_at - ${time}::interval`;
    }

    const standing = { lanes: { ok: false, open_runs: 1, limit_seconds: SILENCE_SECONDS } };
    const moving = { lanes: { ok: true, open_runs: 1 } };

    test('is well from the start, and not once it has stood still', async () => {
      expect(await healthz()).toMatchObject({ status: 200, body: moving });
      await passed('110 seconds');
      expect(await healthz()).toMatchObject({ status: 200, body: { lanes: { silent_seconds: near(110) } } });
      await passed('20 seconds');
      expect(await healthz()).toMatchObject({
        status: 503,
        body: { ok: false, last_success: { ok: true }, ...standing },
      });
    });

    test.each<[string, () => Promise<unknown>]>([
      ['a call began', () => claim(database.sql, runId)],
      [
        'a batch was applied',
        async () => {
          const { batch_id, request } = await claim(database.sql, runId);
          await settle(database.sql, batch_id, { body: resolveAll(request) });
          await database.sql`update identity_sync.lml_call set started_at = '-infinity', answered_at = '-infinity'`;
        },
      ],
      [
        'a call was answered, though without an identity',
        async () => {
          const { batch_id } = await claim(database.sql, runId);
          await settle(database.sql, batch_id, { status: 500, maxTries: 3 });
          await database.sql`update identity_sync.lml_call set started_at = '-infinity'`;
          await database.sql`update identity_sync.batch set not_before = null`;
        },
      ],
    ])('is well where %s lately', async (_, move) => {
      await passed('1 hour');
      expect(await healthz()).toMatchObject({ status: 503, body: standing });
      await move();
      expect(await healthz()).toMatchObject({ status: 200, body: moving });
    });

    test('is well while all that is left waits for a time that LML has named, and not for ever after it', async () => {
      const { batch_id } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { status: 429, retryAfter: '7200' });
      await passed('1 hour');
      expect(await healthz()).toMatchObject({
        status: 200,
        body: { lanes: { ok: true, silent_seconds: 0 } },
      });
      await database.sql`update identity_sync.run set paused_until = paused_until - interval '3 hours'`;
      await database.sql`update identity_sync.batch set not_before = not_before - interval '3 hours'`;
      expect(await healthz()).toMatchObject({ status: 503, body: standing });
    });

    test('is well until the lease of a dead process has run out, and not for ever after it', async () => {
      const holders = ['one', 'two', 'three'];
      for (const leased_by of holders)
        await claim(database.sql, runId, { leased_by, concurrency: 3, lease_ms: 600_000 });
      await passed('9 minutes');
      expect(await healthz()).toMatchObject({
        status: 200,
        body: { lanes: { ok: true, silent_seconds: 0 } },
      });
      await passed('4 minutes');
      expect(await healthz()).toMatchObject({
        status: 503,
        body: { lanes: { ok: false, silent_seconds: near(180) } },
      });
    });

    test('is well where that run stands still because another one moves', async () => {
      await passed('1 hour');
      await shelve(database.sql, 'Juana Molina');
      await claim(database.sql, await plan(database.sql, { scope: 'refresh' }));
      expect(await healthz()).toMatchObject({ status: 200, body: { lanes: { ok: true, open_runs: 2 } } });
    });
  });

  test('names what keeps the cron from planning', async () => {
    await succeed();
    await database.sql`insert into identity_sync.planning_hold (name, reason) values ('key_refused', 'LML answered 401')`;
    expect(await healthz()).toMatchObject({ status: 200, body: { planning_holds: ['key_refused'] } });
  });

  test('refuses a limit that is none', async () => {
    await expect(health({ max_age: '0' })).rejects.toMatchObject({ code: 'LS001' });
    await expect(health({ max_silence: null })).rejects.toMatchObject({ code: 'LS001' });
  });
});

describe('/readyz', () => {
  test('is ready where the database answers and has seen every migration that the program brings', async () => {
    const migrations = await appliedMigrations();
    expect(migrations.length).toBeGreaterThan(0);
    expect(await ask('/readyz', { migrations })).toEqual({
      status: 200,
      body: { ok: true, database: { ok: true }, schema: { ok: true, missing: 0 } },
    });
  });

  test('is not ready before a migration that the program brings', async () => {
    const migrations = [...(await appliedMigrations()), 'sha1:next', 'sha1:last'];
    expect(await ask('/readyz', { migrations })).toEqual({
      status: 503,
      body: { ok: false, database: { ok: true }, schema: { ok: false, missing: 2 } },
    });
  });

  test('is ready where the database is ahead of the program', async () => {
    const [first] = await appliedMigrations();
    expect(await ask('/readyz', { migrations: [first!] })).toMatchObject({ status: 200 });
  });

  test('is not ready in a database that was never migrated, which answers all the same', async () => {
    const fresh = await cloneDatabase();
    closing.push(fresh.drop);
    await fresh.sql`drop schema graphile_migrate cascade`;
    expect(await ask('/readyz', {}, fresh.url)).toEqual({
      status: 503,
      body: { ok: false, database: { ok: true }, schema: { ok: false, reason: '42P01' } },
    });
  });

  test('is not ready where a column is gone that the service needs', async () => {
    const crippled = await cloneDatabase();
    closing.push(crippled.drop);
    await crippled.sql`alter table wxyc_schema.library_identity drop column discogs_artist_id cascade`;
    expect(await ask('/readyz', { migrations: await appliedMigrations() }, crippled.url)).toEqual({
      status: 503,
      body: { ok: false, database: { ok: true }, schema: { ok: false, missing: 0, lost_columns: 1 } },
    });
  });

  test('is not ready for a login that may not see what was migrated', async () => {
    expect(await ask('/readyz', {}, stranger.into(database))).toEqual({
      status: 503,
      body: { ok: false, database: { ok: true }, schema: { ok: false, reason: '42501' } },
    });
  });
});

test('all probes answer the login that sql/roles.sql makes for the worker', async () => {
  await succeed();
  await roles.run(database.url, { worker: worker.name });
  const server = await serve({}, worker.into(database));
  expect(await get(server.port, '/healthz')).toMatchObject({ status: 200 });
  expect(await get(server.port, '/readyz')).toMatchObject({ status: 200 });
  expect(await metricsOf(server)).toMatch(/^identity_sync_database_up 1$/m);
});

describe.each(['/healthz', '/readyz'])('without a database that answers, %s', (path) => {
  test('says so at once where no server listens, and nothing of the login', async () => {
    const url = Object.assign(new URL(database.url), { port: await unusedPort() }).href;
    const { status, body } = await ask(path, {}, url);
    expect({ status, body }).toEqual({
      status: 503,
      body: { ok: false, database: { ok: false, reason: 'ECONNREFUSED' } },
    });
  });

  test('says so in two seconds where it is silent, and is well again when it is there again', async () => {
    await succeed();
    const relay = await startRelay(database.url);
    const server = await serve({}, relay.url);
    expect(await get(server.port, path)).toMatchObject({ status: 200 });

    relay.hold();
    const asked = performance.now();
    const first = get(server.port, path);
    await expect.poll(relay.heldBytes).toBeGreaterThan(0);
    const question = relay.heldBytes();
    // However many ask, they share one question and its bound.
    const answers = await Promise.all([first, get(server.port, path), get(server.port, path)]);
    expect(performance.now() - asked).toBeLessThan(4000);
    expect(relay.heldBytes()).toBe(question);
    const silent = { ok: false, database: { ok: false, reason: 'no answer within 2000 ms' } };
    expect(answers).toEqual(Array(3).fill({ status: 503, body: silent }));

    relay.release();
    expect(await get(server.port, path)).toMatchObject({ status: 200 });
  });

  test('is well again after the database has cut its session', async () => {
    await succeed();
    const server = await serve({});
    expect(await get(server.port, path)).toMatchObject({ status: 200 });
    await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'identity-sync health'`;
    await expect.poll(async () => (await get(server.port, path)).status, { timeout: 5000 }).toBe(200);
  });
});

test('what is given up does not go on in the server', async () => {
  await succeed();
  const server = await serve({});
  const holder = await connect(database.url);
  closing.push(() => holder.end());
  const busy = async () => {
    const [row] = await database.sql`
      select count(*)::integer as questions from pg_stat_activity
      where datname = current_database() and application_name = 'identity-sync health' and state = 'active'`;
    return row!.questions;
  };
  await holder`begin`;
  await holder`lock table identity_sync.run in access exclusive mode`;
  const answer = get(server.port, '/healthz');
  await expect.poll(busy).toBe(1);
  expect(await answer).toMatchObject({
    body: { database: { ok: false, reason: 'no answer within 2000 ms' } },
  });
  await expect.poll(busy).toBe(0);
  await holder`rollback`;
});

describe('the server', () => {
  test.each([
    ['POST', '/healthz', 405],
    ['HEAD', '/healthz', 405],
    ['GET', '/', 404],
    ['GET', '/healthz/', 404],
    ['GET', '//', 404],
    ['GET', '/healthz?from=balancer', 200],
  ])('answers %s %s with %s', async (method, path, status) => {
    await succeed();
    const server = await serve({});
    expect(await get(server.port, path, method)).toMatchObject({ status });
  });

  test('serves the metrics as Prometheus reads them', async () => {
    const server = await serve({});
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toMatch(/^identity_sync_database_up 1$/m);
  });

  test('says that a port is taken', async () => {
    const server = await serve({});
    await expect(serve({}, database.url, server.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test.each([
    ['nothing', ''],
    ['half a request', 'GET /healthz HTTP/1.1\r\nHost: here\r\nX-Slow: '],
  ])('lets a client go within seconds that says %s', async (_what, bytes) => {
    const server = await serve({});
    const socket = connectSocket(server.port, '127.0.0.1').resume();
    socket.write(bytes);
    const late = sleep(25_000, 'still there', { ref: false });
    expect(await Promise.race([once(socket, 'close').then(() => 'gone'), late])).toBe('gone');
  });

  test('takes a hundred clients at a time, so that many leave the process its sockets', async () => {
    const server = await serve({});
    const sockets = Array.from({ length: 101 }, () => connectSocket(server.port, '127.0.0.1').resume());
    const late = sleep(5_000, 'all are there', { ref: false });
    const gone = sockets.map((socket) => once(socket, 'close').then(() => 'one is gone'));
    expect(await Promise.race([...gone, late])).toBe('one is gone');
    for (const socket of sockets) socket.destroy();
  });

  test('is closed at once, though a client keeps a connection open', async () => {
    const server = await serve({});
    const socket = connectSocket(server.port, '127.0.0.1');
    await once(socket, 'connect');
    await server.close();
    socket.destroy();
    await expect(get(server.port, '/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

/** A run with nothing to ask for is over at once, and a success. */
async function succeed() {
  await plan(database.sql, { ids: [], scope: 'due' });
}

/** A run whose only batch LML fails. */
async function fail() {
  const libraryId = await shelve(database.sql, 'Autechre');
  const runId = await plan(database.sql);
  const { batch_id } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { status: 404 });
  await database.sql`delete from wxyc_schema.library where id = ${libraryId}`;
}

/** Makes every run so old, by its start or its end. */
async function age(column: 'started_at' | 'finished_at', age: string) {
  const { sql } = database;
  await sql`update identity_sync.run set ${sql(column)} = clock_timestamp() - ${age}::interval`;
}

/** What SQL finds, with limits of one's own. */
async function health(limits: Record<string, unknown>) {
  const [row] = await call<{ identity_health: unknown }>(database.sql, 'identity_health', limits);
  return row!.identity_health;
}

async function appliedMigrations(): Promise<string[]> {
  const rows = await database.sql<
    { hash: string }[]
  >`select hash from graphile_migrate.migrations order by filename`;
  return rows.map(({ hash }) => hash);
}

/** Tests run on machines that are busy: a number of seconds, or a little more. */
const near = (seconds: number, tolerance = 15) =>
  expect.toSatisfy((value: number) => value >= seconds && value <= seconds + tolerance, `about ${seconds}`);

const healthz = (settings?: Partial<ProbeSettings>) => ask('/healthz', settings);

/** Starts a server, asks it once and closes it again. */
async function ask(path: string, settings: Partial<ProbeSettings> = {}, url = database.url) {
  const server = await serve(settings, url);
  return await get(server.port, path);
}

async function serve(settings: Partial<ProbeSettings>, url = database.url, port = 0): Promise<HealthServer> {
  const probes = connectProbes(url, { ...SETTINGS, ...settings });
  closing.push(() => probes.close());
  const server = await startHealthServer(port, probes);
  closing.push(() => server.close());
  return server;
}

/** Asks with a connection of its own, verbatim, since fetch would normalize the path. */
async function get(port: number, path: string, method = 'GET') {
  const asked = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
  const [response] = await once(asked, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode as number, body: text && JSON.parse(text) };
}

async function metricsOf({ port }: HealthServer): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  return await response.text();
}

async function unusedPort(): Promise<string> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  return String(port);
}

async function listen(server: Server | HttpServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Stands between the probes and the database, and holds back what passes while it is closed. */
async function startRelay(databaseUrl: string) {
  const target = new URL(databaseUrl);
  const pairs: [Socket, Socket][] = [];
  let isHeld = false;
  let heldBytes = 0;
  const server = createServer((near) => {
    const far = connectSocket(Number(target.port), target.hostname);
    pairs.push([near, far]);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from
        .on('error', () => {})
        .on('data', (chunk) => {
          if (isHeld) heldBytes += chunk.length;
          else to.write(chunk);
        });
      from.on('close', () => to.destroy());
    }
  });
  const port = await listen(server);
  closing.push(async () => {
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
    server.close();
  });
  return {
    url: Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: String(port) }).href,
    heldBytes: () => heldBytes,
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
    },
  };
}
