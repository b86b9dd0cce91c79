// What LML answers for a batch: written, or kept for later, and the batch is closed.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answerOf,
  candidates,
  claim,
  plan,
  settle,
  shelveAll,
  tryToClaim,
  verdict,
} from '../../support/catalogue.js';
import { cloneDatabase, type TestDatabase } from '../../support/database.js';
import { batchesOf, batchOf, callsOf, reportOf, written } from '../../support/ledger.js';

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
    expect(await batchOf(database.sql, batch_id)).toMatchObject({
      state: 'applied',
      leased_by: null,
      answer: null,
      failure: null,
    });
    expect(await callsOf(database.sql, batch_id)).toEqual([
      { http_status: 200, latency_ms: 1900, failure: null, inputs: 2 },
    ]);
    expect(await reportOf(database.sql, runId)).toMatchObject({
      scanned: 2,
      rows_resolved: 1,
      rows_unresolved: 1,
    });
  });

  test.each([
    ['that was blanked before it was requested', 'counts nowhere', {}],
    ['that is there', 'counts as not answered', { lml_cardinality_mismatch: 1 }],
  ])('without a row %s: it %s', async (which, _, skipped) => {
    const runId = await plan(database.sql);
    if (which.includes('blanked'))
      await database.sql`update wxyc_schema.library set artist_name = ' ' where id = ${stereolab}`;
    const { batch_id } = await claim(database.sql, runId);

    expect(await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(autechre)]) })).toBe(
      'applied',
    );

    const { scanned, rows_resolved, rows_skipped, left } = await reportOf(database.sql, runId);
    expect({ scanned, rows_resolved, left }).toEqual({
      scanned: 1 + Object.keys(skipped).length,
      rows_resolved: 1,
      left: 0,
    });
    expect(rows_skipped).toMatchObject({ lml_cardinality_mismatch: 0, library_gone: 0, ...skipped });
  });

  test('of a row that was blanked after it was requested is stale: it has not that name any more', async () => {
    const runId = await plan(database.sql);
    const { batch_id } = await claim(database.sql, runId);
    await database.sql`update wxyc_schema.library set artist_name = null where id = ${stereolab}`;
    await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(stereolab)]) });

    const { scanned, rows_resolved, rows_skipped } = await reportOf(database.sql, runId);
    expect({ scanned, rows_resolved }).toEqual({ scanned: 2, rows_resolved: 0 });
    expect(rows_skipped).toMatchObject({ lml_cardinality_mismatch: 1, stale_verdict: 1 });
  });

  test.each([
    ['before it was requested', false, true],
    ['after it was requested, and LML answered for it', true, true],
    ['after it was requested, and LML did not', true, false],
  ])(
    'of a library that has gone %s counts as library_gone, and leaves no mark',
    async (_, requested, told) => {
      const runId = await plan(database.sql);
      const remove = () => database.sql`delete from wxyc_schema.library where id = ${stereolab}`;
      if (!requested) await remove();
      const { batch_id } = await claim(database.sql, runId);
      if (requested) await remove();
      const results = [
        verdict.resolved(autechre),
        ...(requested && told ? [verdict.resolved(stereolab)] : []),
      ];
      await settle(database.sql, batch_id, { body: answerOf(results) });

      expect(await reportOf(database.sql, runId)).toMatchObject({
        ...{ scanned: 2, rows_resolved: 1, left: 0, outcome: 'completed', quarantined: 0 },
        rows_skipped: { library_gone: 1, lml_cardinality_mismatch: 0, lml_untrusted_library_id: 0 },
      });
      expect(new Set(await written(database.sql))).toEqual(new Set([autechre]));
    },
  );

  test('of a dry run is rolled back, and kept word for word', async () => {
    const runId = await plan(database.sql, { dry_run: true });
    const { batch_id } = await claim(database.sql, runId);
    const body = ` ${answerOf([verdict.resolved(autechre), verdict.invalid(stereolab)])}\n`;

    expect(await settle(database.sql, batch_id, { body })).toBe('applied');

    expect(await batchOf(database.sql, batch_id)).toMatchObject({ state: 'applied', answer: body });
    expect(await reportOf(database.sql, runId)).toMatchObject({
      scanned: 2,
      rows_resolved: 1,
      rows_skipped: { invalid_verdict: 1 },
      identity: { inserted: 1 },
      quarantined: 0,
    });
    expect(await written(database.sql)).toEqual([]);
    expect(await candidates(database.sql)).toEqual([autechre, stereolab]);
  });

  test('is judged as strictly as its run was planned', async () => {
    const trigram = { source: 'discogs', method: 'exact_match', confidence: 0.7, external_id: '41' };
    const outOfBand = { ...verdict.resolved(autechre), provenance: [trigram] };
    for (const strict of [false, true]) {
      const parameters = { scope: 'ids', ids: [autechre], strict_bands: strict };
      const runId = await plan(database.sql, parameters);
      const { batch_id } = await claim(database.sql, runId);
      await settle(database.sql, batch_id, { body: answerOf([outOfBand]) });
      expect(await reportOf(database.sql, runId)).toMatchObject({
        source_rows_out_of_band: strict ? 0 : 1,
        rows_skipped: { invalid_verdict: strict ? 1 : 0 },
      });
    }
  });

  test('for which nothing was left to request leaves an empty batch, in which only what is gone counts', async () => {
    const runId = await plan(database.sql);
    await database.sql`update wxyc_schema.library set artist_name = ' ' where id = ${autechre}`;
    await database.sql`delete from wxyc_schema.library where id = ${stereolab}`;
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();

    const [batch] = await batchesOf(database.sql, runId);
    expect(batch).toMatchObject({
      state: 'empty',
      is_done: true,
      answered_at: null,
      library_ids: [stereolab],
    });
    expect(await reportOf(database.sql, runId)).toMatchObject({
      ...{ scanned: 1, left: 0, lml_total_calls: 0, outcome: 'completed' },
      rows_skipped: { library_gone: 1 },
    });
    const settlements = await database.sql`select is_answer from identity_sync.settlement`;
    expect([...settlements]).toEqual([{ is_answer: false }]);
  });

  test('for a batch whose every row was blanked leaves an empty batch, in which nothing counts', async () => {
    const runId = await plan(database.sql);
    await database.sql`update wxyc_schema.library set artist_name = ' '`;
    expect(await tryToClaim(database.sql, runId)).toBeUndefined();

    expect(await batchesOf(database.sql, runId)).toMatchObject([
      { state: 'empty', library_ids: [], asked_as: [] },
    ]);
    expect(await reportOf(database.sql, runId)).toMatchObject({ scanned: 0, left: 0, outcome: 'completed' });
  });
});
