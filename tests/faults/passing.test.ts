// LML's passing faults: the same batch is requested again after a growing pause, at most LML_MAX_TRIES times, and no other
// batch pays for it.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type Reply, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates } from '../support/catalogue.js';
import { cli, type Ended, killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, openProxy, reportOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '1' });

async function open() {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
}

async function close() {
  await killLeftovers();
  await lml.close();
  await database.drop();
}

describe('a call that fails twice is made a third time, and its rows are written', () => {
  const html = { headers: { 'content-type': 'text/html' }, body: '<html><h1>Bad Gateway</h1></html>' };
  const late = expect.stringMatching(/^no whole answer from 127.0.0.1:\d+ within 1000 ms$/);
  const unreadable = { status: 200, failure: null };

  const faults: [what: string, reply: Reply, kept: { status: number | null; failure: string | null }][] = [
    ['500', { status: 500, body: 'Internal Server Error' }, { status: 500, failure: null }],
    ['503', { status: 503 }, { status: 503, failure: null }],
    ['502 in HTML', { status: 502, ...html }, { status: 502, failure: null }],
    ['408', { status: 408 }, { status: 408, failure: null }],
    ['425', { status: 425 }, { status: 425, failure: null }],
    ['200 in HTML', html, unreadable],
    ['200 in plain text', { body: 'OK' }, unreadable],
    ['200 without a body', { body: '' }, unreadable],
    ['200 that is no answer', { body: '{"message":"busy"}' }, unreadable],
    ['half an answer', { body: '{"results":[{"kind":"unresolved",' }, unreadable],
    [
      'a body cut off',
      { destroy: true },
      { status: 200, failure: expect.stringMatching(/the connection broke \(UND_ERR_SOCKET\)$/) },
    ],
    ['a body that stalls', { stall: true }, { status: 200, failure: late }],
    ['a body that drips', { drip: { bytes: 1, everyMs: 50 } }, { status: 200, failure: late }],
    ['no answer', { delayMs: 60_000 }, { status: null, failure: late }],
  ];

  let ids: number[];
  let ended: Ended;

  beforeAll(async () => {
    await open();
    ids = await shelveMany(database.sql, faults.length);
    const times = new Map<number, number>();
    lml.respondWith(({ inputs: [input] }) => {
      const time = (times.get(input!.library_id) ?? 0) + 1;
      times.set(input!.library_id, time);
      return time < 3 ? faults[ids.indexOf(input!.library_id)]![1] : undefined;
    });
    // All of them at once, so that they wait together.
    const together = { LML_CONCURRENCY: String(faults.length), LML_TIMEOUT_MS: '1000' };
    ended = await cli(['run'], { ...settings(), ...together });
  });
  afterAll(close);

  test.each(faults)('%s', async (what, _, kept) => {
    const id = ids[faults.findIndex(([name]) => name === what)]!;
    // The pauses by the database's own clock, since this process may hear of a call late.
    const calls = await database.sql`
      select
        http_status as status, lml_call.failure,
        extract(epoch from started_at - lag(lml_call.answered_at) over (order by call_id))::float8 as pause
      from identity_sync.lml_call join identity_sync.batch using (batch_id)
      where ${id} = any (library_ids) order by call_id`;
    const [, second, third] = calls.map(({ pause }) => pause);
    expect(second).toBeGreaterThanOrEqual(0.374);
    expect(third).toBeGreaterThanOrEqual(0.749);
    expect(lml.calls.filter((call) => call.ids.includes(id))).toHaveLength(3);
    expect(calls.map(({ status, failure }) => ({ status, failure }))).toEqual([
      kept,
      kept,
      { status: 200, failure: null },
    ]);
    expect(await identified(database.sql)).toContain(id);
  });

  test('and the run is well: nothing failed, nothing is due, nothing is in quarantine', async () => {
    expect(ended.status).toBe(0);
    expect(ended.stderr).not.toContain('Warning');
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'completed',
      scanned: faults.length,
      rows_resolved: faults.length,
      failed_batches: 0,
      quarantined: 0,
      lml_total_calls: faults.length * 3,
    });
    expect(await candidates(database.sql)).toEqual([]);
  });
});

describe('a call', () => {
  beforeEach(open);
  afterEach(close);

  test('that keeps failing is made LML_MAX_TRIES times, then its rows are left due, and only they', async () => {
    const [choking, cut, fine] = await shelveMany(database.sql, 3);
    lml.respondWith(({ inputs: [input] }) => {
      if (input!.library_id === choking) return { status: 503 };
      return input!.library_id === cut ? { destroy: true } : undefined;
    });

    const ended = await cli(['run'], { ...settings(), LML_MAX_TRIES: '2' });
    expect(ended.status).toBe(1);
    expect([...lml.askedIds()].sort()).toEqual([
      [choking, 2],
      [cut, 2],
      [fine, 1],
    ]);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'failed',
      failed_batches: 2,
      rows_resolved: 1,
      rows_skipped: { lml_error: 2, poison_input: 0 },
      quarantined: 0,
    });
    expect(await candidates(database.sql)).toEqual([choking, cut]);
    expect(await identified(database.sql)).toEqual([fine]);
  });

  test('that LML refuses for good is made once, and its rows are left due', async () => {
    const statuses = [400, 404, 405, 409, 302];
    const ids = await shelveMany(database.sql, statuses.length * 2);
    // Every second one is answered, so that the run has no reason to pause.
    const statusFor = (id: number) => statuses[ids.indexOf(id) / 2];
    lml.respondWith(({ inputs: [input] }) => {
      const status = statusFor(input!.library_id);
      return status === undefined ? undefined : { status };
    });

    const ended = await cli(['run'], { ...settings(), LML_CONCURRENCY: '1' });
    expect(ended.status).toBe(1);
    expect([...lml.askedIds().values()]).toEqual(ids.map(() => 1));
    const failed = await database.sql`
      select library_ids[1] as id, failure from identity_sync.batch where state = 'failed' order by batch_id`;
    expect(failed.map((batch) => batch.failure)).toEqual(
      failed.map(({ id }) => expect.stringMatching(`^LML answered ${statusFor(id)}: `)),
    );
    expect(logOf(ended).at(-1)!.msg).toContain('5 of its batches failed: LML answered ');
    expect(await candidates(database.sql)).toEqual(failed.map(({ id }) => id));
    expect(failed.map(({ id }) => id)).toEqual(ids.filter((id) => statusFor(id) !== undefined));
  });

  test('whose answer is beyond all bounds is given up before it fills the memory, and made again', async () => {
    const [id] = await shelveMany(database.sql, 1);
    const tooMuch = Buffer.alloc(65 * 1024 * 1024, ' ');
    lml.respondWith(({ index }) => (index === 0 ? { body: tooMuch } : undefined));

    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    const calls = await database.sql`select failure from identity_sync.lml_call order by call_id`;
    expect(calls.map((call) => call.failure)).toEqual([
      expect.stringMatching(/the answer has more than 24 MB/),
      null,
    ]);
    expect(await identified(database.sql)).toEqual([id]);
  });

  test('that finds no server is made again, and finds LML once it is back', async () => {
    const ids = await shelveMany(database.sql, 2);
    const proxy = await openProxy(lml.url);
    await proxy.shut();
    const running = startCli(['run'], { ...settings(), LIBRARY_METADATA_URL: proxy.url, LML_MAX_TRIES: '6' });
    await running.says('failed: nothing listens there (ECONNREFUSED)');
    expect(lml.calls).toEqual([]);
    await proxy.open();

    expect(await running.ended).toMatchObject({ status: 0 });
    await proxy.shut();
    expect([...lml.askedIds().values()]).toEqual([1, 1]);
    expect(await identified(database.sql)).toEqual(ids);
    expect((await reportOf(database.sql)).rows_skipped.lml_error).toBe(0);
  });
});
