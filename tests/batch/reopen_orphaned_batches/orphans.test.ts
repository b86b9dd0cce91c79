// Claims and rescues open again what dead processes left behind, and do not wait meanwhile.
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  call,
  claim,
  plan,
  resolveAll,
  settle,
  shelveAll,
  tryToClaim,
  untilWaiting,
} from '../../support/catalogue.js';
import { cloneDatabase, connect, type TestDatabase } from '../../support/database.js';
import { batchOf } from '../../support/ledger.js';

let database: TestDatabase;
let ids: number[];
let runId: string;

beforeEach(async () => {
  database = await cloneDatabase();
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  runId = await plan(database.sql, { batch_size: 1 });
});
afterEach(() => database.drop());

const asTheyWere = ['claim', 'rescue'] as const;

test('of a run that goes on, those whose lease has run out are open again, and those that are leased are not', async () => {
  const dead = await claim(database.sql, runId, { leased_by: 'dead' });
  const alive = await claim(database.sql, runId, { leased_by: 'alive' });
  await database.sql`
    update identity_sync.batch set leased_until = clock_timestamp() where batch_id = ${dead.batch_id}`;

  await database.sql`select identity_sync_private.reopen_orphaned_batches()`;

  expect(await batchOf(database.sql, dead.batch_id)).toMatchObject({ state: 'open', leased_by: null });
  expect(await batchOf(database.sql, alive.batch_id)).toMatchObject({
    state: 'in_flight',
    leased_by: 'alive',
  });
});

test.each(asTheyWere)(
  'a %s passes over a batch that is being settled, though its lease has run out',
  async (what) => {
    const settling = connect(database.url);
    const late = await claim(database.sql, runId, { leased_by: 'late', lease_ms: 0 });
    await settling`begin`;
    expect(await settle(settling, late.batch_id, { leased_by: 'late', body: resolveAll(late.request) })).toBe(
      'applied',
    );

    if (what === 'claim') {
      const other = await claim(database.sql, runId, { leased_by: 'other' });
      expect(JSON.parse(other.request).inputs).toMatchObject([{ library_id: ids[1] }]);
    } else {
      expect(await call(database.sql, 'rescue_identity_runs', { lanes: 2 })).toHaveLength(1);
    }

    await settling`commit`;
    expect(await batchOf(database.sql, late.batch_id)).toMatchObject({ state: 'applied' });
  },
);

test('three sessions: one holds a row, one waits for it with its lease run out, and the third claims and settles', async () => {
  const [operator, lane] = [connect(database.url), connect(database.url)];
  await database.sql`alter function identity_sync.apply_identity_verdicts set lock_timeout = '1min'`;
  await operator`begin`;
  await operator`
    select identity_sync.apply_identity_verdicts(
      ${operator.json([{ library_id: ids[0]!, kind: 'unresolved' }])}, origin => 'consumer:lml-bulk')`;
  const waiting = await claim(database.sql, runId, { leased_by: 'lane', lease_ms: 0 });
  const settling = settle(lane, waiting.batch_id, { body: resolveAll(waiting.request) });
  await untilWaiting(database.sql);

  for (const id of ids.slice(1)) {
    const next = await claim(database.sql, runId, { leased_by: 'third' });
    expect(JSON.parse(next.request).inputs).toMatchObject([{ library_id: id }]);
    await settle(database.sql, next.batch_id, { leased_by: 'third', body: resolveAll(next.request) });
  }
  expect(await call(database.sql, 'rescue_identity_runs', { lanes: 2 })).toHaveLength(1);
  await untilWaiting(database.sql);

  await operator`commit`;
  expect(await settling).toBe('applied');
});

test.each(asTheyWere)('a %s passes over a run that another session is about to stop', async (what) => {
  const stopping = connect(database.url);
  await claim(database.sql, runId, { leased_by: 'dead', lease_ms: 0 });
  await stopping`begin`;
  await call(stopping, 'stop_identity_run', { run_id: runId, reason: 'by hand' });

  if (what === 'claim') {
    expect(await tryToClaim(database.sql, runId)).toMatchObject({ batch_id: null, wait_ms: 500 });
  } else {
    await call(database.sql, 'rescue_identity_runs', { lanes: 2 });
  }

  await stopping`commit`;
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  const [run] = await database.sql`select outcome from identity_sync.run where run_id = ${runId}`;
  expect(run).toEqual({ outcome: 'stopped' });
});

test('what a fault opened again in a run that was told to stop meanwhile is abandoned, and not handed out', async () => {
  await claim(database.sql, runId);
  await call(database.sql, 'stop_identity_run', { run_id: runId, reason: 'by hand' });
  await database.sql`
    update identity_sync.batch set state = 'open', leased_by = null, leased_until = null where closed_at is null`;
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
  const [run] = await database.sql`select outcome from identity_sync.run where run_id = ${runId}`;
  expect(run).toEqual({ outcome: 'stopped' });
});
