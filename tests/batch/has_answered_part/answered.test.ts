// An answered part of a cut batch proves that LML works. Only a 200 is an answer.
import { beforeEach, expect, test } from 'vitest';
import { claim, plan, resolveAll, settle, shelveAll, tryToClaim } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { batchesOf, reportOf } from '../../support/ledger.js';

const database = useDatabase();
let ids: [number, number];
let runId: string;
let root: string;

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run, identity_sync.attempt cascade`;
  ids = await shelveAll(database.sql, 'Autechre', 'Stereolab');
  runId = await plan(database.sql, { scope: 'ids', ids });
  root = (await claim(database.sql, runId)).batch_id;
  await settle(database.sql, root, { status: 422 });
});

async function hasAnsweredPart(batchId: string | null = root) {
  const [row] =
    await database.sql`select identity_sync_private.has_answered_part(${batchId}) as has_answered_part`;
  return row!.has_answered_part;
}

test('a part that was answered is an answer', async () => {
  expect(await hasAnsweredPart()).toBe(false);
  const { batch_id, request } = await claim(database.sql, runId);
  await settle(database.sql, batch_id, { body: resolveAll(request) });
  expect(await hasAnsweredPart()).toBe(true);
});

test('no batch has no parts', async () => {
  expect(await hasAnsweredPart(null)).toBe(false);
});

test('a part that was refused is no answer: the other one, that LML fails on, is not called poison for it', async () => {
  const refused = await claim(database.sql, runId);
  expect(await settle(database.sql, refused.batch_id, { status: 422 })).toBe('poison_input');
  expect(await hasAnsweredPart()).toBe(false);

  const failing = await claim(database.sql, runId);
  expect(await settle(database.sql, failing.batch_id, { status: 503 })).toBe('failed');
  expect((await reportOf(database.sql, runId)).rows_skipped).toMatchObject({ poison_input: 1, lml_error: 1 });
});

test('a part that had nothing left to request is no answer', async () => {
  await database.sql`update wxyc_schema.library set artist_name = ' ' where id = ${ids[0]}`;
  const failing = await claim(database.sql, runId);
  const [, empty] = await batchesOf(database.sql, runId);
  expect(empty).toMatchObject({ state: 'empty' });
  expect(await hasAnsweredPart()).toBe(false);

  expect(await settle(database.sql, failing.batch_id, { status: 503 })).toBe('failed');
  expect(await tryToClaim(database.sql, runId)).toBeUndefined();
});
