// One input that LML refuses or chokes on: it is found by cutting its batch in two, within a bound on calls, and the
// others are answered. Where everything is refused, nothing is called poison.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates } from '../support/catalogue.js';
import { cli, logOf } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';
import { identified, marked, reportOf, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url });

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
});
afterEach(async () => {
  await lml.close();
  await database.drop();
});

/** Makes LML answer every request that holds one of these with an error. */
function poison(culprits: number[], status: number, message: string, headers = {}) {
  lml.respondWith(({ inputs }) =>
    inputs.some((input) => culprits.includes(input.library_id))
      ? { status, headers, body: JSON.stringify({ message }) }
      : undefined,
  );
}

async function quarantine() {
  const entries = await database.sql`
    select library_id, outcome, reason, verdict_text from identity_sync.quarantined_verdict
    where closed_at is null order by library_id`;
  return entries.map((entry) => ({ ...entry }));
}

describe('one poison input of 500', () => {
  // The last one is the worst case: of an odd number, the second half is the larger.
  test.each([
    [422, 'inputs.499.artist_name: none is not an allowed value', 19],
    [500, 'Internal Server Error', 23],
    [503, 'Entity store is not available', 23],
  ])(
    'that LML answers with %i is named in at most 24 calls, and 499 are written',
    async (status, words, calls) => {
      const ids = await shelveMany(database.sql, 500);
      const culprit = ids.at(-1)!;
      poison([culprit], status, words);
      const ended = await cli(['run'], settings());

      expect(ended.status).toBe(0);
      expect(lml.calls.length).toBeLessThanOrEqual(24);
      expect(lml.calls).toHaveLength(calls);
      expect(await identified(database.sql)).toEqual(ids.slice(0, -1));
      expect(await quarantine()).toEqual([
        {
          library_id: culprit,
          outcome: 'poison_input',
          reason: `LML answered ${status}: ${words}`,
          verdict_text: JSON.stringify({ message: words }),
        },
      ]);
      expect(logOf(ended).find((line) => line.msg.includes('quarantine'))?.msg).toMatch(/^1 rows? /);
      expect(JSON.parse(ended.stdout)).toMatchObject({
        outcome: 'completed',
        scanned: 500,
        rows_resolved: 499,
        rows_skipped: { poison_input: 1, lml_error: 0 },
        lml_total_calls: calls,
        left: 0,
      });
      expect(await marked(database.sql, 'poison_input')).toEqual([culprit]);
      expect(await candidates(database.sql)).toEqual([]);
      expect(await candidates(database.sql, { unresolved_retry_days: 0 })).toEqual([culprit]);
    },
  );

  test('is found behind a proxy as well, which adds a Retry-After to each 503', async () => {
    const ids = await shelveMany(database.sql, 8);
    poison(ids.slice(-1), 503, 'Entity store is not available', { 'retry-after': '0' });
    // Ends the run, should it go on for ever.
    const ended = await cli(['run', '--call-budget', '40'], settings());

    expect(ended.status).toBe(0);
    expect(lml.calls.length).toBeLessThanOrEqual(24);
    expect(await quarantine()).toMatchObject([{ library_id: ids.at(-1), outcome: 'poison_input' }]);
    expect(await identified(database.sql)).toEqual(ids.slice(0, -1));
  });
});

test('one result that cannot be read costs its own row alone', async () => {
  const ids = await shelveMany(database.sql, 16);
  const culprit = ids[5]!;
  lml.respondWith(({ inputs, defaultBody }) =>
    inputs.some((input) => input.library_id === culprit)
      ? { body: defaultBody().replace(/}$/, `,"depth":${'['.repeat(200_000)}${']'.repeat(200_000)}}`) }
      : undefined,
  );
  const ended = await cli(['run'], settings());

  expect(ended.status).toBe(0);
  expect(lml.calls.length).toBeLessThanOrEqual(24);
  expect(await identified(database.sql)).toEqual(ids.filter((id) => id !== culprit));
  expect(await quarantine()).toMatchObject([
    {
      library_id: culprit,
      outcome: 'poison_input',
      reason: expect.stringMatching(/^LML answered 200 with what is no answer: \{"results"/),
    },
  ]);
  expect(await candidates(database.sql)).toEqual([]);
});

test('several poison inputs of one batch are each found, and the others written', async () => {
  const ids = await shelveMany(database.sql, 32);
  const culprits = [ids[3]!, ids[4]!, ids[30]!];
  poison(culprits, 422, 'Validation failed');
  expect(await cli(['run'], settings())).toMatchObject({ status: 0 });

  expect((await quarantine()).map((entry) => entry.library_id)).toEqual(culprits);
  expect(await identified(database.sql)).toEqual(ids.filter((id) => !culprits.includes(id)));
  expect(await candidates(database.sql)).toEqual([]);
});

test('a dry run with one poison input is applied as it was previewed, until its answers are tidied away', async () => {
  const ids = await shelveMany(database.sql, 3);
  poison(ids.slice(0, 1), 422, 'Validation failed');
  const dry = await cli(['run', '--dry-run'], settings());
  expect(JSON.parse(dry.stdout)).toMatchObject({ would_resolve: 2, would_skip: { poison_input: 1 } });

  const applied = await cli(['apply', '--run', '1'], settings());
  expect(applied.status).toBe(0);
  expect(JSON.parse(applied.stdout)).toMatchObject({
    ...{ scanned: 3, identity: { inserted: 2 } },
    rows_skipped: { poison_input: 1 },
  });
  expect(await identified(database.sql)).toEqual(ids.slice(1));
  expect((await quarantine()).map((entry) => entry.library_id)).toEqual(ids.slice(0, 1));
  expect(await candidates(database.sql)).toEqual([]);

  await database.sql`update identity_sync.run set finished_at = finished_at - interval '31 days'`;
  await database.sql`select identity_sync.prune_identity_sync(30)`;
  const late = await cli(['apply', '--run', '1'], settings());
  expect(late).toMatchObject({ status: 1, stdout: '' });
  expect(late.stderr).toContain('the answers of dry run 1 are gone');
});

describe('what LML fails on is no poison', () => {
  // The first of two is refused by name, and the other one fails in a way that may be LML's own.
  test('where the other part was refused', async () => {
    const ids = await shelveMany(database.sql, 2);
    lml.respondWith(({ inputs }) => ({ status: inputs[0]!.library_id === ids[0] ? 422 : 503 }));
    expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
    expect(lml.calls.map(({ status }) => status).sort()).toEqual([422, 422, 503, 503, 503]);
    expect((await quarantine()).map((entry) => entry.library_id)).toEqual(ids.slice(0, 1));
    expect(await candidates(database.sql)).toEqual(ids.slice(1));
  });

  test('where the other part had nothing to ask', async () => {
    const ids = await shelveMany(database.sql, 2);
    lml.respondWith(async ({ inputs }) => {
      await database.sql`update wxyc_schema.library set artist_name = ' ' where id = ${ids[0]!}`;
      return { status: inputs.length > 1 ? 422 : 503 };
    });
    expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
    expect(await quarantine()).toEqual([]);
    expect(await candidates(database.sql)).toEqual(ids.slice(1));
  });
});

test('where nothing that LML answers can be read, it is given up within a bound, and nothing is poison', async () => {
  const ids = await shelveMany(database.sql, 64);
  lml.respondWith(() => ({ body: '<html>Maintenance</html>' }));
  expect(await cli(['run'], settings())).toMatchObject({ status: 1 });
  expect(lml.calls.length).toBeLessThanOrEqual(12);
  expect(await quarantine()).toEqual([]);
  expect(await candidates(database.sql)).toEqual(ids);
});

test.each([422, 503])(
  'where LML answers everything with %i, it is given up within a bound',
  async (status) => {
    const ids = await shelveMany(database.sql, 64);
    poison(ids, status, 'Nothing today');
    const ended = await cli(['run'], settings());

    expect(ended.status).toBe(1);
    expect(lml.calls.length).toBeLessThanOrEqual(12);
    expect(await runOf(database.sql)).toMatchObject({
      outcome: 'failed',
      outcome_reason: expect.stringContaining(`LML answered ${status}: Nothing today`),
    });
    expect((await reportOf(database.sql)).rows_skipped).toMatchObject({ lml_error: 64, poison_input: 0 });
    expect(await quarantine()).toEqual([]);
    expect(await candidates(database.sql)).toEqual(ids);
  },
);

describe('a 413', () => {
  test('cuts the batch until LML takes its parts, and every row is answered once', async () => {
    const ids = await shelveMany(database.sql, 11);
    lml.respondWith(({ inputs }) => (inputs.length > 2 ? { status: 413 } : undefined));
    const ended = await cli(['run'], settings());

    expect(ended.status).toBe(0);
    const taken = lml.calls.filter((call) => call.status === 200);
    expect(taken.flatMap((call) => call.ids).sort((one, other) => one - other)).toEqual(ids);
    expect(Math.max(...taken.map((call) => call.ids.length))).toBe(2);
    expect(await identified(database.sql)).toEqual(ids);
    expect(await quarantine()).toEqual([]);
  });

  test('for everything, be it one input alone, poisons nothing: all stays due', async () => {
    const ids = await shelveMany(database.sql, 8);
    poison(ids, 413, 'Request Entity Too Large');
    const ended = await cli(['run'], settings());

    expect(ended.status).toBe(1);
    expect(lml.calls.length).toBeLessThanOrEqual(15);
    expect(await quarantine()).toEqual([]);
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test('for everything, of 500 rows, is believed after 32 calls', async () => {
    const ids = await shelveMany(database.sql, 500);
    poison(ids, 413, 'Request Entity Too Large');
    const ended = await cli(['run'], { ...settings(), LML_CONCURRENCY: '1' });

    expect(ended.status).toBe(1);
    expect(lml.calls.length).toBeLessThanOrEqual(32);
    expect(await quarantine()).toEqual([]);
    expect(await candidates(database.sql)).toEqual(ids);
  });

  test('for more than 16 rows is a cap that is found, and all of 500 are written', async () => {
    const ids = await shelveMany(database.sql, 500);
    lml.respondWith(({ inputs }) => (inputs.length > 16 ? { status: 413 } : undefined));
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });

    expect(await identified(database.sql)).toEqual(ids);
  });
});
