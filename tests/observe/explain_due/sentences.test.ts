// Why a library is due or not, in a sentence that begins with the answer and agrees with what a run would ask.
import type { Sql } from 'postgres';
import { expect } from 'vitest';
import { call, candidates, shelve } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { singleArtist, unresolved } from '../../support/verdicts.js';

const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

const answered = (sql: Sql, verdict: { library_id?: unknown }, days: number) =>
  call(sql, 'apply_identity_verdicts', {
    response: [verdict],
    requested: [verdict.library_id],
    origin: 'consumer:lml-bulk',
    verified_at: daysAgo(days),
  });

const TIME = /\d{4}-\d\d-\d\d \d\d:\d\d UTC/g;

test.for<[string, (sql: Sql, id: number) => Promise<unknown>, string, number | null]>([
  ['never asked', async () => {}, 'due now: it was never asked', 0],
  [
    'fresh',
    (sql, id) => answered(sql, singleArtist(id), 3),
    'due on TIME: verified on TIME, stale after 7 days',
    4,
  ],
  [
    'stale',
    (sql, id) => answered(sql, singleArtist(id), 8),
    'due now: verified on TIME, stale after 7 days',
    0,
  ],
  [
    'waiting',
    (sql, id) => answered(sql, unresolved(id), 10),
    'due on TIME: asked in vain (unresolved) on TIME, which holds for 30 days',
    20,
  ],
  [
    'over',
    (sql, id) => answered(sql, unresolved(id), 31),
    'due now: asked in vain (unresolved) on TIME, which holds for 30 days',
    0,
  ],
  [
    'held',
    (sql, id) => call(sql, 'hold_identity', { library_id: id, reason: 'why' }),
    'held by hand: it is not asked until it is released',
    null,
  ],
  [
    'held with an identity',
    async (sql, id) => {
      await answered(sql, singleArtist(id), 3);
      await call(sql, 'hold_identity', { library_id: id, reason: 'why' });
    },
    'held by hand: asked again on TIME, but left as it is until it is released',
    4,
  ],
  [
    'released',
    async (sql, id) => {
      await answered(sql, singleArtist(id), 3);
      await call(sql, 'release_identity', { library_id: id, reason: 'why' });
    },
    'due now: released on TIME',
    0,
  ],
  [
    'without a name',
    (sql, id) => sql`update wxyc_schema.library set artist_name = '' where id = ${id}`,
    'never asked: it has no artist name',
    null,
  ],
  [
    'not canonicalized',
    (sql, id) => sql`update wxyc_schema.library set canonical_entity_id = null where id = ${id}`,
    'not asked: it has no canonical entity and no identity',
    null,
  ],
])('%s', async ([, happens, words, days], { database: { sql } }) => {
  const id = await shelve(sql, 'Autechre');
  await happens(sql, id);

  const [row] = await sql`select identity_sync_private.explain_due(${id}, 7, 30, false) as due`;
  const { sentence, is_due, due_at } = row!.due;

  expect(sentence.replaceAll(TIME, 'TIME')).toBe(words);
  expect(is_due).toBe((await candidates(sql)).includes(id));
  if (days === null) expect(due_at).toBeNull();
  else expect((Date.parse(due_at) - Date.now()) / 86_400_000).toBeCloseTo(days, 1);
});

test('a row that was renamed since it was asked is due, and says so', async ({
  database: { sql },
  cli,
  lml,
}) => {
  expect(lml.url).toBeTruthy();
  const id = await shelve(sql, 'Autechre');
  expect((await cli.run(['run'])).status).toBe(0);
  await sql`update wxyc_schema.library set artist_name = 'Stereolab' where id = ${id}`;
  const [row] = await sql`select identity_sync_private.explain_due(${id}, 7, 30, false) as due`;
  expect(row!.due).toMatchObject({
    is_due: true,
    reason: 'renamed',
    sentence: 'due now: its artist name or album title is another than LML was asked by',
  });
});

test('days that are none are refused', async ({ database: { sql } }) => {
  await expect(sql`select identity_sync_private.explain_due(1, -1, 30, false)`).rejects.toMatchObject({
    code: 'LS001',
  });
});
