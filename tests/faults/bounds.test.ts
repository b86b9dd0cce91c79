// A run has an end: its deadline, or its budget of calls. What is left is due next time.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates } from '../support/catalogue.js';
import { cli, holdAnswers, killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, reportOf, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
let ids: number[];
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '1' });

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
  ids = await shelveMany(database.sql, 6);
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

describe('the deadline of a run', () => {
  test('is as many minutes away as RUN_DEADLINE_MINUTES says', async () => {
    await cli(['run'], { ...settings(), RUN_DEADLINE_MINUTES: '7' });
    const [run] = await database.sql`
      select deadline_at - started_at between '6 min 59 s' and '7 min' as as_told from identity_sync.run`;
    expect(run).toEqual({ as_told: true });
  });

  test('once it has passed, lets the calls in flight finish and begins no other', async () => {
    const answers = holdAnswers(lml);
    const running = startCli(['run'], settings());
    await expect.poll(() => lml.calls.length).toBe(2);
    await database.sql`update identity_sync.run set deadline_at = clock_timestamp()`;
    answers.letGo();

    const ended = await running.ended;
    expect(ended.status).toBe(1);
    expect(lml.calls).toHaveLength(2);
    expect(logOf(ended).at(-1)!.msg).toMatch(
      /^run 1 stopped in [\d.]+ m?s: its deadline has passed, what is left is due next time; 2 rows in 2 calls/,
    );
    expect(await runOf(database.sql)).toMatchObject({ stop_cause: 'deadline' });
    expect(await reportOf(database.sql)).toMatchObject({ scanned: 2, left: 4 });
    expect(await identified(database.sql)).toEqual(ids.slice(0, 2));

    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect([...lml.askedIds().values()]).toEqual(ids.map(() => 1));
    expect(await candidates(database.sql)).toEqual([]);
  });
});

describe('the budget of a run', () => {
  test.each(['1', '4'])('is never overdrawn, with %s calls in flight', async (concurrency) => {
    const limits = { LML_CALL_BUDGET: '3', LML_CONCURRENCY: concurrency };
    const ended = await cli(['run'], { ...settings(), ...limits });
    expect(ended.status).toBe(0);
    expect(lml.calls).toHaveLength(3);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'completed',
      outcome_reason: 'its budget of calls is used up, what is left is due next time',
      stop_cause: 'budget',
      lml_total_calls: 3,
      scanned: 3,
      left: 3,
    });
    expect(await candidates(database.sql)).toEqual(ids.slice(3));

    expect(await cli(['run'], { ...settings(), ...limits })).toMatchObject({ status: 0 });
    expect([...lml.askedIds().values()]).toEqual(ids.map(() => 1));
  });

  test('that is just enough is no reason to stop', async () => {
    const ended = await cli(['run'], { ...settings(), LML_CALL_BUDGET: '6' });
    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ outcome: 'completed', stop_cause: null, left: 0 });
  });

  test('is charged for calls that failed as well, and what they were for stays due', async () => {
    lml.respondWith(() => ({ status: 503 }));
    const ended = await cli(['run'], { ...settings(), LML_CALL_BUDGET: '2', LML_CONCURRENCY: '1' });
    expect(lml.calls).toHaveLength(2);
    expect(JSON.parse(ended.stdout)).toMatchObject({ stop_cause: 'budget', scanned: 0, left: 6 });
    expect(await candidates(database.sql)).toEqual(ids);
  });
});
