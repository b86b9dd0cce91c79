// What becomes of a batch, by what came of its call.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  type Came,
  call,
  candidates,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
  untilWaiting,
  verdict,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
let autechre: number;
let stereolab: number;

beforeEach(async () => {
  database = await cloneDatabase();
  [autechre, stereolab] = await shelveAll(database.sql, 'Autechre', 'Stereolab');
});
afterEach(() => database.drop());

describe('an answer', () => {
  test('is applied, and its batch and call are closed', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    const body = answerOf([verdict.resolved(autechre), verdict.unresolved(stereolab)]);

    expect(await settle(database.sql, batch_id, { body, latencyMs: 1900 })).toBe('applied');

    const [identity] = await database.sql`
      select library_id, notes, clock_timestamp() - last_verified_at < '1 minute' as is_fresh
      from wxyc_schema.library_identity`;
    expect(identity).toEqual({ library_id: autechre, notes: 'consumer:lml-bulk', is_fresh: true });
    expect(await candidates(database.sql)).toEqual([]);
    expect(await batch(batch_id)).toMatchObject({
      state: 'applied',
      leased_by: null,
      answer: null,
      failure: null,
    });
    expect(await callsOf(batch_id)).toEqual([
      { http_status: 200, latency_ms: 1900, failure: null, inputs: 2 },
    ]);
    expect(await reportOf(runId)).toMatchObject({ scanned: 2, rows_resolved: 1, rows_unresolved: 1 });
  });

  test.each([
    ['that was blanked before it was asked', 'counts nowhere', {}],
    ['that is there', 'counts as not answered', { lml_cardinality_mismatch: 1 }],
  ])('without a row %s: it %s', async (which, _, skipped) => {
    const runId = await plan(database.sql);
    if (which.includes('blanked'))
      await database.sql`update wxyc_schema.library set artist_name = ' ' where id = ${stereolab}`;
    const { batch_id } = await claim(database.sql, runId);

    expect(await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(autechre)]) })).toBe(
      'applied',
    );

    const { scanned, rows_resolved, rows_skipped, left } = await reportOf(runId);
    expect({ scanned, rows_resolved, left }).toEqual({
      scanned: 1 + Object.keys(skipped).length,
      rows_resolved: 1,
      left: 0,
    });
    expect(rows_skipped).toMatchObject({ lml_cardinality_mismatch: 0, library_gone: 0, ...skipped });
  });

  test('of a row that was blanked after it was asked is believed', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await database.sql`update wxyc_schema.library set artist_name = null where id = ${stereolab}`;
    await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(stereolab)]) });

    const { scanned, rows_resolved, rows_skipped } = await reportOf(runId);
    expect({ scanned, rows_resolved }).toEqual({ scanned: 2, rows_resolved: 1 });
    expect(rows_skipped).toMatchObject({ lml_cardinality_mismatch: 1, lml_untrusted_library_id: 0 });
  });

  test('of a dry run is only rehearsed, and kept word for word', async () => {
    const runId = await plan(database.sql, { dry_run: true });
    const { batch_id } = await claim(database.sql, runId);
    const body = ` ${answerOf([verdict.resolved(autechre), verdict.invalid(stereolab)])}\n`;

    expect(await settle(database.sql, batch_id, { body })).toBe('applied');

    expect(await batch(batch_id)).toMatchObject({ state: 'applied', answer: body });
    expect(await reportOf(runId)).toMatchObject({
      scanned: 2,
      rows_resolved: 1,
      rows_skipped: { invalid_verdict: 1 },
      identity: { inserted: 1 },
      quarantined: 0,
    });
    expect(await written()).toEqual([]);
    expect(await candidates(database.sql)).toEqual([autechre, stereolab]);
  });

  test('is judged as strictly as its run was planned', async () => {
    const trigram = { source: 'discogs', method: 'exact_match', confidence: 0.7, external_id: '41' };
    const outOfBand = { ...verdict.resolved(autechre), provenance: [trigram] };
    for (const strict of [false, true]) {
      const knobs = { scope: 'ids', ids: [autechre], strict_bands: strict };
      const runId = await plan(database.sql, knobs);
      const { batch_id } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { body: answerOf([outOfBand]) });
      expect(await reportOf(runId)).toMatchObject({
        source_rows_out_of_band: strict ? 0 : 1,
        rows_skipped: { invalid_verdict: strict ? 1 : 0 },
      });
    }
  });

  test('that comes late counts as long as nobody else has claimed the batch', async () => {
    const { batch_id, request } = await claim(database.sql, await plan(database.sql), { lease_ms: 0 });
    expect(await settle(database.sql, batch_id, { body: resolveAll(request) })).toBe('applied');
  });

  test('counts once: handed in again, or for a batch that is not there, it is lost', async () => {
    const { batch_id, request } = await claim(database.sql, await plan(database.sql));
    await settle(database.sql, batch_id, { body: resolveAll(request) });
    const before = await everything();

    expect(await settle(database.sql, batch_id, { body: answerOf([]) })).toBe('lost');
    expect(await settle(database.sql, batch_id, { status: 500 })).toBe('lost');
    expect(await settle(database.sql, '987654321', { body: answerOf([]) })).toBe('lost');
    expect(await everything()).toEqual(before);
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
  ['HTML', { body: '<html><body>Bad Gateway</body></html>' }, 'LML answered 200 with what is no answer'],
  ['an empty body', { body: '' }, 'LML answered 200 with what is no answer'],
  ['{}', { body: '{}' }, 'LML answered 200 with what is no answer'],
  ['null', { body: 'null' }, 'LML answered 200 with what is no answer'],
  ['results that are no array', { body: '{"results": {}}' }, 'LML answered 200 with what is no answer'],
  [
    'half an answer',
    { body: '{"results": [{"kind": "unresolved", ' },
    'LML answered 200 with what is no answer',
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

    expect(await batch(failed.batch_id)).toMatchObject({ state: 'failed', failure: words, leased_by: null });
    expect(await callsOf(failed.batch_id)).toEqual([
      {
        http_status: came.status === undefined ? 200 : came.status,
        latency_ms: 7,
        failure: came.failure ?? null,
        inputs: 1,
      },
    ]);
    expect(await reportOf(runId)).toMatchObject({
      scanned: 2,
      rows_resolved: 1,
      rows_skipped: { lml_error: 1 },
      failed_batches: 1,
      left: 0,
      quarantined: 0,
      outcome: 'failed',
      outcome_reason: `1 of its batches failed: ${words}`,
    });
    expect(await candidates(database.sql)).toEqual([autechre]);
    expect(await database.sql`select from identity_sync.attempt`).toHaveLength(0);
  });

  test('of the database, to the end, counts as writer_error, with no mark and no quarantine', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await fail(batch_id, { failure: 'could not extend file: No space left', counted_as: 'writer_error' });

    expect(await reportOf(runId)).toMatchObject({
      scanned: 2,
      rows_skipped: { writer_error: 2, lml_error: 0 },
      failed_batches: 1,
      quarantined: 0,
      outcome: 'failed',
      outcome_reason: '1 of its batches failed: could not extend file: No space left',
    });
    expect(await written()).toEqual([]);
    expect(await candidates(database.sql)).toEqual([autechre, stereolab]);
  });

  test('is counted once, and never undoes what was settled', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const settled = await claim(database.sql, runId);
    await settle(database.sql, settled.batch_id, { body: resolveAll(settled.request) });
    const failed = await claim(database.sql, runId);
    await fail(failed.batch_id, { failure: 'LML answered 500' });
    const before = await everything();

    for (const batch_id of [settled.batch_id, failed.batch_id, '987654321']) {
      await fail(batch_id, { failure: 'and again' });
    }
    expect(await everything()).toEqual(before);
  });

  test('of one leased_by does not fail the batch of the next', async () => {
    const { batch_id } = await claim(database.sql, await plan(database.sql), {
      leased_by: 'late',
      lease_ms: 0,
    });
    await claim(database.sql, await plan(database.sql), { leased_by: 'alive' });

    await fail(batch_id, { failure: 'disk full', counted_as: 'writer_error', leased_by: 'late' });
    expect(await batch(batch_id)).toMatchObject({ state: 'in_flight', leased_by: 'alive' });
  });
});

describe('a key that is refused', () => {
  test.each([401, 403])('stops the run at once: %i', async (status) => {
    const runId = await plan(database.sql, { batch_size: 1, lanes: 1 });
    const { batch_id } = await claim(database.sql, runId);
    expect(await settle(database.sql, batch_id, { status })).toBe('failed');

    expect(await tryToClaim(database.sql, runId)).toBeUndefined();
    expect(await reportOf(runId)).toMatchObject({
      outcome: 'failed',
      outcome_reason: expect.stringContaining(
        `LML answered ${status}: the key is refused. Check LML_API_KEY`,
      ),
      left: 1,
      failed_batches: 1,
    });
    expect(await candidates(database.sql)).toEqual([autechre, stereolab]);
  });

  test.each([401, 403])(
    'is named as the reason where the batch was the last one as well: %i',
    async (status) => {
      const runId = await plan(database.sql);
      const { batch_id } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { status });

      expect((await reportOf(runId)).outcome_reason).toContain('the key is refused. Check LML_API_KEY');
    },
  );

  test('lets the answer of a call in flight be settled', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const [refused, inFlight] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    await settle(database.sql, refused.batch_id, { status: 401 });
    expect(await reportOf(runId)).toMatchObject({ finished_at: null });

    await settle(database.sql, inFlight.batch_id, { body: resolveAll(inFlight.request) });
    expect(await reportOf(runId)).toMatchObject({ outcome: 'failed', rows_resolved: 1 });
  });
});

describe('a batch given back', () => {
  test('can be claimed at once, and the answer of who gave it back is lost', async () => {
    const runId = await plan(database.sql);
    const given = await claim(database.sql, runId, { leased_by: 'stopped', concurrency: 1 });
    await giveBack(given.batch_id, 'stopped');

    expect(await batch(given.batch_id)).toMatchObject({ state: 'open', leased_by: null, leased_until: null });
    const came = { leased_by: 'stopped', body: resolveAll(given.request) };
    expect(await settle(database.sql, given.batch_id, came)).toBe('lost');
    const found = await claim(database.sql, runId, { leased_by: 'next', concurrency: 1 });
    expect(found.batch_id).toBe(given.batch_id);
  });

  test('by somebody who does not hold it, or holds it no more, stays where it is', async () => {
    const runId = await plan(database.sql, { batch_size: 1 });
    const [held, settled] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    await settle(database.sql, settled.batch_id, { body: resolveAll(settled.request) });

    await giveBack(held.batch_id, 'somebody else');
    await giveBack(settled.batch_id, 'lane');
    expect(await batch(held.batch_id)).toMatchObject({ state: 'in_flight', leased_by: 'lane' });
    expect(await batch(settled.batch_id)).toMatchObject({ state: 'applied' });
  });
});

const fail = (batchId: string, args: Record<string, unknown>) =>
  call(database.sql, 'fail_identity_batch', { batch_id: batchId, ...args });

const giveBack = (batchId: string, leased_by: string) =>
  call(database.sql, 'return_identity_batch', { batch_id: batchId, leased_by });

async function batch(batchId: string) {
  const [row] = await database.sql`select * from identity_sync.batch where batch_id = ${batchId}`;
  return row;
}

async function callsOf(batchId: string) {
  const calls = await database.sql`
    select http_status, latency_ms, failure, inputs from identity_sync.lml_call
    where batch_id = ${batchId} and answered_at is not null`;
  return calls.map((row) => ({ ...row }));
}

async function reportOf(runId: string) {
  const [row] = await database.sql`select identity_sync.identity_run_report(${runId}) as report`;
  return row!.report;
}

/** What was written about any library: identities, marks, quarantine. */
async function written() {
  const rows = await database.sql`
    select library_id from wxyc_schema.library_identity
    union all select library_id from wxyc_schema.library_identity_source
    union all select library_id from identity_sync.attempt
    union all select library_id from identity_sync.quarantined_verdict`;
  return rows.map((row) => row.library_id);
}

async function everything() {
  const { sql } = database;
  return {
    runs: await sql`select * from identity_sync.run order by run_id`,
    batches: await sql`select * from identity_sync.batch order by batch_id`,
    calls: await sql`select * from identity_sync.lml_call order by call_id`,
    settlements: await sql`select * from identity_sync.settlement order by settlement_id`,
    written: await written(),
  };
}
