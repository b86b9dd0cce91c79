// The brake: an LML that answers 200 with nothing but faults stops the run before the catalogue is marked or rewritten. What
// was counted is taken back, and the hold on planning ends when a run by hand completes without it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { answerOf, call, candidates, claim, plan, settle, verdict } from '../support/catalogue.js';
import { cli, killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { addJob, identified, marked, NEVER, runOf, shelveMany, UNHEARD_OF } from '../support/faults.js';

const identities = loadIdentities();
const LONG_AGO = new Date(Date.now() - 40 * 86_400_000);

let database: TestDatabase;
let lml: StandIn;
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, BATCH_SIZE: '50' });

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

/** What LML answered for these libraries forty days ago. */
async function wereAsked(ids: number[], what: 'resolved' | 'unresolved') {
  await call(database.sql, 'apply_identity_response', {
    body: answerOf(ids.map((id) => verdict[what](id))),
    requested: ids,
    origin: 'consumer:lml-bulk',
    verified_at: LONG_AGO,
  });
}

/** An earlier run, of which so many of a hundred records came back unresolved. */
async function wasUsual(unresolved: number) {
  const ids = await shelveMany(database.sql, 300);
  const { batch_id } = await claim(database.sql, await plan(database.sql, { batch_size: 300 }));
  const results = ids.map((id, index) =>
    index % 100 < unresolved ? verdict.unresolved(id) : verdict.resolved(id),
  );
  await settle(database.sql, batch_id, { body: answerOf(results) });
}

async function holds(): Promise<string[]> {
  const rows = await database.sql`select name from identity_sync.planning_hold`;
  return rows.map((row) => row.name);
}

const completed = { outcome: 'completed', stop_cause: null };

describe('a first run of which everything comes back unresolved', () => {
  let known: number[];
  let ids: number[];

  beforeEach(async () => {
    known = await shelveMany(database.sql, 20, UNHEARD_OF);
    await wereAsked(known, 'unresolved');
    ids = [...known, ...(await shelveMany(database.sql, 480, UNHEARD_OF))];
  });

  test('stops, and takes back the marks of the rows counted, while all others stand', async () => {
    const ended = await cli(['run'], settings());

    expect(ended.status).toBe(1);
    expect(await runOf(database.sql)).toMatchObject({ outcome: 'failed', stop_cause: 'brake' });
    expect(logOf(ended).at(-1)!.msg).toMatch(/^run \d+ failed in .*identity-sync run --accept unresolved/);
    // Two hundred rows to count make five batches, and each lane may hold an answer and have a call in flight.
    expect(lml.calls.length).toBeGreaterThanOrEqual(5);
    expect(lml.calls.length).toBeLessThanOrEqual(9);
    expect(await marked(database.sql, 'unresolved')).toEqual(known);
    expect(await candidates(database.sql)).toEqual(ids.slice(known.length));
    expect(await holds()).toEqual(['brake']);
  });

  test('keeps the cron from planning, until a run that accepts it has succeeded', async () => {
    await cli(['run'], settings());
    const worker = startCli(['worker'], { ...settings(), PLAN_CRON: NEVER });
    await worker.says('the worker is up');
    const calls = lml.calls.length;
    const { run_id: braked } = await runOf(database.sql);
    await addJob(database.sql, 'plan_identity_run');
    await worker.says('nothing is planned until a person has acted');
    expect(await runOf(database.sql)).toMatchObject({ run_id: braked });
    expect(lml.calls).toHaveLength(calls);

    const accepted = await cli(['run', '--accept-unresolved'], settings());
    expect(accepted.status).toBe(0);
    expect(JSON.parse(accepted.stdout)).toMatchObject({ ...completed, rows_unresolved: 480 });
    expect(await marked(database.sql, 'unresolved')).toEqual(ids);
    expect(await holds()).toEqual([]);

    const { run_id: completedRun } = await runOf(database.sql);
    await addJob(database.sql, 'plan_identity_run');
    await expect.poll(async () => (await runOf(database.sql)).run_id).toBe(String(Number(completedRun) + 1));
  });

  test('stops again where a person runs it again without accepting', async () => {
    const runs = new Set<string>();
    for (let time = 1; time <= 2; time++) {
      expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
      const run = await runOf(database.sql);
      expect(run).toMatchObject({ stop_cause: 'brake' });
      runs.add(run.run_id);
    }
    expect(runs.size).toBe(2);
    expect(await candidates(database.sql)).toEqual(ids.slice(known.length));
  });
});

describe('the brake lets go on', () => {
  afterEach(async () => expect(await holds()).toEqual([]));

  test('a day on which hundreds of rows long known as unresolved fall due', async () => {
    const ids = await shelveMany(database.sql, 300, UNHEARD_OF);
    await wereAsked(ids, 'unresolved');
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect(await runOf(database.sql)).toMatchObject(completed);
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('a run of fewer than two hundred new rows', async () => {
    await shelveMany(database.sql, 199, UNHEARD_OF);
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect(await runOf(database.sql)).toMatchObject(completed);
  });

  test('a run of which one row in fifteen is resolved', async () => {
    for (let batch = 0; batch < 5; batch++) {
      await shelveMany(database.sql, 4);
      await shelveMany(database.sql, 46, UNHEARD_OF);
    }
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect(await runOf(database.sql)).toMatchObject(completed);
  });

  test('what is less than twenty points above the usual share of earlier runs', async () => {
    await wasUsual(81);
    await shelveMany(database.sql, 250, UNHEARD_OF);
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect(await runOf(database.sql)).toMatchObject({ ...completed, run_id: '2' });
  });

  test('a run of ids that a person names', async () => {
    const ids = await shelveMany(database.sql, 250, UNHEARD_OF);
    expect(await cli(['run', '--ids', ids.join()], settings())).toMatchObject({ status: 0 });
    expect(await runOf(database.sql)).toMatchObject({ ...completed, scope: 'ids' });
  });

  test('a recheck of compilations, though it resolves none', async () => {
    const ids = await shelveMany(database.sql, 250, UNHEARD_OF);
    await database.sql`update wxyc_schema.library set code_volume_letters = 'Z'`;
    // They hold an identity and a mark, so that they would count elsewhere.
    await wereAsked(ids, 'resolved');
    await wereAsked(ids, 'unresolved');
    const ended = await cli(['run', '--scope', 'recheck'], settings());
    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ ...completed, scope: 'recheck', rows_unresolved: 250 });
  });
});

test('two hundred new rows of which one in twenty is resolved stop the run', async () => {
  const unresolved: number[] = [];
  for (let batch = 0; batch < 5; batch++) {
    await shelveMany(database.sql, 2);
    unresolved.push(...(await shelveMany(database.sql, 38, UNHEARD_OF)));
  }
  expect(await cli(['run'], { ...settings(), BATCH_SIZE: '40' })).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ stop_cause: 'brake' });
  expect(await candidates(database.sql)).toEqual(unresolved);
});

test('what begins in the middle of a run is seen in its latest thousand rows', async () => {
  const resolved = await shelveMany(database.sql, 300);
  const ids = await shelveMany(database.sql, 1100, UNHEARD_OF);
  expect(await cli(['run'], { ...settings(), LML_CONCURRENCY: '1' })).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ stop_cause: 'brake' });
  expect(await identified(database.sql)).toEqual(resolved);
  expect(await candidates(database.sql)).toEqual(ids);
});

test('twenty points above the usual share of earlier runs stop it', async () => {
  await wasUsual(80);
  const ids = await shelveMany(database.sql, 250, UNHEARD_OF);
  expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ run_id: '2', stop_cause: 'brake' });
  expect(await candidates(database.sql)).toEqual(ids);
});

test('rows that hold an identity count as new ones do, and keep it', async () => {
  const ids = await shelveMany(database.sql, 250, UNHEARD_OF);
  await wereAsked(ids, 'resolved');
  expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
  expect(await runOf(database.sql)).toMatchObject({ stop_cause: 'brake' });
  expect(await identified(database.sql)).toEqual(ids);
  expect(await marked(database.sql, 'unresolved')).toEqual([]);
  expect(await candidates(database.sql)).toEqual(ids);
});

describe('a hold of the brake', () => {
  const ended = async (...args: string[]) => (await cli(['run', ...args], settings())).status;

  beforeEach(async () => {
    await shelveMany(database.sql, 300);
    lml.turn('overloaded');
    expect(await ended()).toBe(1);
  });

  test('ends with a run by hand once LML is well again, and not with a rehearsal', async () => {
    expect(await ended('--dry-run', '--accept', 'unresolved')).toBe(0);
    expect(await holds()).toEqual(['brake']);
    lml.turn(null);
    expect(await ended('--dry-run')).toBe(0);
    expect(await ended('--scope', 'recheck')).toBe(0);
    expect(await holds()).toEqual(['brake']);
    expect(await ended()).toBe(0);
    expect(await holds()).toEqual([]);
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('names its cause anew where the next run by hand stops for another one', async () => {
    lml.turn('new_kind');
    expect(await ended()).toBe(1);
    const [hold] = await database.sql`select gauge, share, run_id, reason from identity_sync.planning_hold`;
    expect(hold).toMatchObject({
      gauge: 'refused',
      share: '1.0000',
      run_id: '2',
      reason: expect.stringMatching(/^run 2: 100 % of the last \d+ verdicts were refused/),
    });
  });
});

test('every id shifted: the run stops, and --accept changed lets it go on', async () => {
  await shelveMany(database.sql, 400);
  expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
  lml.turn('shifted');
  const stopped = await cli(['run', '--scope', 'refresh'], settings());
  expect(stopped.status).toBe(1);
  expect(logOf(stopped).at(-1)!.msg).toMatch(
    /^run 2 failed in .*: 100 % of the last \d+ identities came back as another artist: .* undo --run 2\. .* --accept changed;/,
  );
  const accepted = await cli(['run', '--scope', 'refresh', '--accept', 'changed', 'refused'], settings());
  expect(accepted.status).toBe(0);
});

test.each([
  [['--accept', 'everything'], 'Allowed choices are unresolved, refused, changed'],
  [['--accept'], 'argument missing'],
])('%j is wrong usage', async (flags, words) => {
  const refused = await cli(['run', ...flags], settings());
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain(words);
});
