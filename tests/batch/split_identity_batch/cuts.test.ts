import { beforeEach, describe, expect, test } from 'vitest';
import { claim, plan, resolveAll, settle } from '../../support/catalogue.js';
import { connect, useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';
import { batchesOf, batchOf, reportOf } from '../../support/ledger.js';

const database = useDatabase();
let ids: number[];
let runId: string;
let root: string;

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  ids = await shelveMany(database.sql, 16);
  runId = await plan(database.sql, { scope: 'ids', ids });
  root = (await claim(database.sql, runId)).batch_id;
});

async function split(batchId: string, patience: number): Promise<string> {
  const [row] = await database.sql`
    select identity_sync_private.split_identity_batch(${batchId}, 'LML answered 422', ${patience}) as outcome`;
  return row!.outcome;
}

test('the halves hold every row once, and know the batch as it was planned, however often it is cut', async () => {
  expect(await split(root, 5)).toBe('split');
  const first = await claim(database.sql, runId);
  expect(await split(first.batch_id, 5)).toBe('split');

  expect(await batchesOf(database.sql, runId)).toMatchObject([
    { state: 'split', root_batch_id: null, library_ids: ids, is_done: false, failure: 'LML answered 422' },
    { state: 'split', root_batch_id: root, library_ids: ids.slice(0, 8) },
    { state: 'open', root_batch_id: root, library_ids: ids.slice(8) },
    { state: 'open', root_batch_id: root, library_ids: ids.slice(0, 4) },
    { state: 'open', root_batch_id: root, library_ids: ids.slice(4, 8) },
  ]);
});

describe('after as many cuts as patience allows', () => {
  /** Cuts the batch and its first half. */
  async function cutTwice() {
    await split(root, 5);
    const part = await claim(database.sql, runId);
    await split(part.batch_id, 5);
  }

  test('without an answered part the remaining parts fail, but for those in flight', async () => {
    await cutTwice();
    const [inFlight, part] = [await claim(database.sql, runId), await claim(database.sql, runId)];
    expect(await split(part.batch_id, 1)).toBe('failed');

    expect(await batchOf(database.sql, inFlight.batch_id)).toMatchObject({ state: 'in_flight' });
    expect((await reportOf(database.sql, runId)).rows_skipped).toMatchObject({ lml_error: 8 });
  });

  test('an answered part justifies further cuts', async () => {
    await cutTwice();
    const answered = await claim(database.sql, runId);
    await settle(database.sql, answered.batch_id, { body: resolveAll(answered.request) });
    const part = await claim(database.sql, runId);
    expect(await split(part.batch_id, 1)).toBe('split');
  });
});

test('two lanes that cut at once do not wait for each other, and so cannot deadlock at their run', async () => {
  await split(root, 5);
  const [first, second] = [await claim(database.sql, runId), await claim(database.sql, runId)];
  const other = connect(database.url);
  await other`begin`;
  await other`select identity_sync_private.split_identity_batch(${first.batch_id}, 'LML answered 422', 5)`;

  expect(await settle(database.sql, second.batch_id, { status: 422 })).toBe('split');

  await other`select identity_sync_private.close_identity_run(${runId})`;
  await other`commit`;
  expect((await batchesOf(database.sql, runId)).map(({ state }) => state)).toEqual([
    ...Array(3).fill('split'),
    ...Array(4).fill('open'),
  ]);
});
