// What the result of a call leaves in the ledger; its outcome is decided by decide_call_outcome.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  type Came,
  candidates,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  untilWaiting,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { batchOf, callsOf, everything, reportOf, runOf } from '../../support/ledger.js';

let database: TestDatabase;
let autechre: number;

beforeEach(async () => {
  database = await cloneDatabase();
  [autechre] = await shelveAll(database.sql, 'Autechre', 'Stereolab');
});
afterEach(() => database.drop());

describe('an answer', () => {
  test.each([
    ['an object', { cache_hits: 7 }, { cache_hits: 7 }],
    ['anything else', 7, null],
  ])(
    'hands its statistics on where they are an object, and ends its run where it was the last: %s',
    async (_, stats, handedOn) => {
      const runId = await plan(database.sql);
      const { batch_id, request } = await claim(database.sql, runId);
      const body = JSON.stringify({ ...JSON.parse(resolveAll(request)), cache_stats: stats });

      const [finished] = await database.sql`
      select outcome, reason, cache_stats, drift from identity_sync.finish_identity_call(
        ${batch_id}, 'lane', 200, ${body}, null, 12
      )`;

      expect(finished).toEqual({ outcome: 'applied', reason: null, cache_stats: handedOn, drift: null });
      expect(await runOf(database.sql, runId)).toMatchObject({
        outcome: 'completed',
        finished_at: expect.any(Date),
      });
    },
  );

  test('that comes late counts as long as no other lane has claimed the batch', async () => {
    const { batch_id, request } = await claim(database.sql, await plan(database.sql), { lease_ms: 0 });
    expect(await settle(database.sql, batch_id, { body: resolveAll(request) })).toBe('applied');
  });

  test('belongs to the last call of its lane: a claim that the lane never heard of was none', async () => {
    const runId = await plan(database.sql);
    await claim(database.sql, runId, { lease_ms: 0 });
    const { batch_id, request } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: resolveAll(request) });

    expect(await callsOf(database.sql, batch_id)).toHaveLength(1);
  });

  test('counts once: handed in again, or for a batch that is not there, it is lost', async () => {
    const { batch_id, request } = await claim(database.sql, await plan(database.sql));
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    const before = await everything(database.sql);

    expect(await settle(database.sql, batch_id, { body: answerOf([]) })).toBe('lost');
    expect(await settle(database.sql, batch_id, { status: 500 })).toBe('lost');
    expect(await settle(database.sql, '987654321', { body: answerOf([]) })).toBe('lost');
    expect(await everything(database.sql)).toEqual(before);
  });

  test('counts once also where two sessions hand it in at once', async () => {
    const { batch_id, request } = await claim(database.sql, await plan(database.sql));
    const [first, second] = [connect(database.url), connect(database.url)];
    await first`begin`;
    expect(await settle(first, batch_id, { body: resolveAll(request) })).toBe('applied');
    const again = settle(second, batch_id, { body: resolveAll(request) });
    await untilWaiting(database.sql);
    await first`commit`;

    expect(await again).toBe('lost');
    expect(await database.sql`select from identity_sync.settlement`).toHaveLength(1);
  });
});

const failures: [what: string, came: Came, words: string][] = [
  ['a 500', { status: 500, body: 'Internal Server Error' }, 'LML answered 500: Internal Server Error'],
  [
    'a 503',
    { status: 503, body: '{"message":"Entity store is not available"}' },
    'LML answered 503: Entity store is not available',
  ],
  ['a 404', { status: 404, body: '{"detail":"Not Found"}' }, 'LML answered 404: Not Found'],
  ['a redirect', { status: 302, body: '' }, 'LML answered 302: no words'],
  [
    'HTML',
    { body: '<html><body>Bad\r\n\x1b[2J Gateway</body></html>' },
    'LML answered 200 with what is no answer: <html><body>Bad [2J Gateway</body></html>',
  ],
  ['an empty body', { body: '' }, 'LML answered 200 with what is no answer: no text at all'],
  ['{}', { body: '{}' }, 'LML answered 200 with what is no answer: {}'],
  ['null', { body: 'null' }, 'LML answered 200 with what is no answer: null'],
  [
    'results that are no array',
    { body: '{"results": {}}' },
    'LML answered 200 with what is no answer: {"results": {}}',
  ],
  [
    'half an answer',
    { body: '{"results": [{"kind": "unresolved", ' },
    'LML answered 200 with what is no answer: {"results": [{"kind": "unresolved",',
  ],
  [
    'a text without end',
    { body: 'x'.repeat(100_000) },
    `LML answered 200 with what is no answer: ${'x'.repeat(200)}`,
  ],
  ['no status', { status: null, failure: 'the call failed: ECONNREFUSED' }, 'the call failed: ECONNREFUSED'],
  ['a cut-off body', { failure: 'the call failed: UND_ERR_SOCKET' }, 'the call failed: UND_ERR_SOCKET'],
  ['broken UTF-8', { failure: 'the answer is no UTF-8 text' }, 'the answer is no UTF-8 text'],
];

describe('a failure', () => {
  test.each(failures)('fails the batch, whose rows stay due: %s', async (_, came, words) => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const failed = await claim(database.sql, runId);
    const fine = await claim(database.sql, runId);
    await settle(database.sql, fine.batch_id, { body: resolveAll(fine.request) });

    expect(await settle(database.sql, failed.batch_id, { ...came, latencyMs: 7 })).toBe('failed');

    expect(await batchOf(database.sql, failed.batch_id)).toMatchObject({
      state: 'failed',
      failure: words,
      leased_by: null,
    });
    expect(await callsOf(database.sql, failed.batch_id)).toEqual([
      {
        http_status: came.status === undefined ? 200 : came.status,
        latency_ms: 7,
        failure: came.failure ?? null,
        inputs: 1,
      },
    ]);
    expect(await reportOf(database.sql, runId)).toMatchObject({
      scanned: 2,
      rows_resolved: 1,
      rows_skipped: { lml_error: 1 },
      failed_batches: 1,
      left: 1,
      quarantined: 0,
      outcome: 'failed',
      outcome_reason: `1 of its batches failed: ${words}`,
    });
    expect(await candidates(database.sql)).toEqual([autechre]);
    expect(await database.sql`select from identity_sync.attempt`).toHaveLength(0);
  });
});
