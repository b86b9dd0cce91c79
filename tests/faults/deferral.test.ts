// LML asks for a pause (429): the whole run waits, the batch is requested again later, and it costs no try.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates } from '../support/catalogue.js';
import { cli, killLeftovers, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { addJob, identified, NEVER, reportOf, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '1' });

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

const WHAT_COMES = { interval: 10 };

const timesOfCalls = () => lml.calls.map((call) => call.at.getTime());
const pausesBetweenCalls = () =>
  timesOfCalls().flatMap((at, index, all) => (index ? at - all[index - 1]! : []));

async function triesAndDeferrals() {
  const batches = await database.sql`select tries, deferrals from identity_sync.batch order by batch_id`;
  return batches.map((batch) => ({ ...batch }));
}

describe('a 429 with a Retry-After', () => {
  // An HTTP date knows no fractions of a second, so it names a time up to one second earlier.
  test.each([
    ['in seconds', () => '2', 2000],
    ['as a date', () => new Date(Date.now() + 3000).toUTCString(), 2000],
  ])('%s keeps every lane from asking until then, and charges no try', async (_, retryAfter, pause) => {
    const ids = await shelveMany(database.sql, 5);
    // Another lane's call is in flight while LML says so, and is answered once the run pauses.
    let refusedAt = Number.NaN;
    lml.respondWith(async ({ index }) => {
      if (index === 0) {
        await expect.poll(() => lml.calls.length, WHAT_COMES).toBe(2);
        refusedAt = Date.now();
        return { status: 429, headers: { 'retry-after': retryAfter() } };
      }
      if (index === 1)
        await expect.poll(async () => (await runOf(database.sql)).paused_for, WHAT_COMES).not.toBeNull();
      return undefined;
    });
    const ended = await cli(['run'], { ...settings(), LML_MAX_TRIES: '1' });

    expect(ended.status).toBe(0);
    const [, , ...later] = timesOfCalls();
    expect(later).toHaveLength(4);
    for (const at of later) expect(at - refusedAt).toBeGreaterThanOrEqual(pause - 1);
    expect(await identified(database.sql)).toEqual(ids);
    expect(await triesAndDeferrals()).toEqual([
      { tries: 0, deferrals: 1 },
      ...Array(4).fill({ tries: 0, deferrals: 0 }),
    ]);
  });

  test('beyond the deadline of the run does not outlast it: the rows are left due', async () => {
    const ids = await shelveMany(database.sql, 2);
    lml.respondWith(() => ({ status: 429, headers: { 'retry-after': '2592000' } }));
    const worker = startCli(['worker'], { ...settings(), PLAN_CRON: NEVER, LML_CONCURRENCY: '1' });
    await worker.says('the worker is up');
    await addJob(database.sql, 'plan_identity_run');
    await expect.poll(async () => (await runOf(database.sql))?.paused_for ?? 0).toBeGreaterThan(3000);
    const [run] = await database.sql`select paused_until - deadline_at as beyond from identity_sync.run`;
    expect(run!.beyond).toBe('00:00:00');
    await worker.says('it asks for quiet until ');
    await worker.says(' UTC, later than the deadline of the run');

    await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
    await addJob(database.sql, 'rescue_identity_runs');
    await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('stopped');
    expect(lml.calls).toHaveLength(1);
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test('that is over already makes no lane spin', async () => {
    await shelveMany(database.sql, 20);
    lml.respondWith(() => ({ status: 429, headers: { 'retry-after': '0' } }));
    const running = startCli(['run'], settings());
    await expect.poll(() => lml.calls.length).toBeGreaterThan(0);

    const before = lml.calls.length;
    await new Promise((over) => setTimeout(over, 2000));
    expect(lml.calls.length - before).toBeLessThan(12);
    lml.respondWith(null);
    expect(await running.ended).toMatchObject({ status: 0 });
  });
});

describe('a 429 without one', () => {
  test('makes pauses grow, and charges no try', async () => {
    const [id] = await shelveMany(database.sql, 1);
    lml.respondWith(({ index }) => (index < 3 ? { status: 429 } : undefined));
    const ended = await cli(['run'], { ...settings(), LML_MAX_TRIES: '1' });

    expect(ended.status).toBe(0);
    const [first, second, third, ...more] = pausesBetweenCalls();
    expect(more).toEqual([]);
    expect(first).toBeGreaterThanOrEqual(374);
    expect(second).toBeGreaterThanOrEqual(749);
    expect(third).toBeGreaterThanOrEqual(1499);
    expect(await identified(database.sql)).toEqual([id]);
    expect(await triesAndDeferrals()).toEqual([{ tries: 0, deferrals: 3 }]);
  });

  test('is also one whose Retry-After is neither seconds nor a date', async () => {
    const words = [null, '', 'soon', '-1', '2026-11-02T08:00:00Z'];
    const noDates = [
      'Tue, 31 Feb 2026 07:28:00 GMT',
      'Mon, 02 Nov 2026 25:00:00 GMT',
      'Mon, 02 Noo 2026 08:00:00 GMT',
    ];
    const read = await database.sql`
      select word, identity_sync_private.parse_retry_after(word) as time from unnest(${[...words, ...noDates]}::text[]) as word`;
    expect(read.filter(({ time }) => time !== null)).toEqual([]);
  });
});

describe('a 503 with a Retry-After', () => {
  test('is made again after that time', async () => {
    const ids = await shelveMany(database.sql, 1);
    lml.respondWith(({ index }) =>
      index === 0 ? { status: 503, headers: { 'retry-after': '2' } } : undefined,
    );
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    const [pause, ...more] = pausesBetweenCalls();
    expect(pause).toBeGreaterThanOrEqual(1999);
    expect(more).toEqual([]);
    expect(await identified(database.sql)).toEqual(ids);
  });

  test('is no 429: it is made LML_MAX_TRIES times at most', async () => {
    const ids = await shelveMany(database.sql, 1);
    lml.respondWith(() => ({ status: 503, headers: { 'retry-after': '1' } }));
    const ended = await cli(['run'], { ...settings(), LML_MAX_TRIES: '2' });

    expect(ended.status).toBe(1);
    expect(lml.calls).toHaveLength(2);
    expect((await reportOf(database.sql)).rows_skipped.lml_error).toBe(1);
    expect(await candidates(database.sql)).toEqual(ids);
  });
});
