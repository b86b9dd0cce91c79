// Every library is counted in one state, and what is due is what a run would ask for.
import type { Sql } from 'postgres';
import { expect } from 'vitest';
import { call, candidates, shelve, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { singleArtist, unresolved } from '../../support/verdicts.js';

const counted = async (sql: Sql) => {
  const [row] = await sql`select identity_sync_private.count_catalogue(7, 30, false) as counts`;
  return row!.counts;
};

const STATES = ['due', 'fresh', 'waiting', 'held', 'not_canonical', 'not_on_discogs', 'no_name'];

test('the states of a mixed catalogue add up to its rows, and due is what a run asks for', async ({
  database: { sql },
}) => {
  const ids = await shelveAll(
    sql,
    'fresh',
    'stale',
    'waiting',
    'over',
    'held',
    'new',
    'released',
    'odd',
    'again',
  );
  const [fresh, stale, waiting, over, held, , released, odd, again] = ids;
  await shelve(sql, { artist: ' ' });
  await shelve(sql, { artist: 'not canonicalized', canonical: false });
  const answer = async (verdict: object, days: number) => {
    await call(sql, 'apply_identity_verdicts', {
      response: [verdict],
      requested: [(verdict as { library_id: number }).library_id],
      origin: 'consumer:lml-bulk',
      verified_at: new Date(Date.now() - days * 86_400_000).toISOString(),
    });
  };
  await answer(singleArtist(fresh), 1);
  await answer(singleArtist(stale), 8);
  await answer(unresolved(waiting), 10);
  await answer(unresolved(again), 10);
  await answer(unresolved(over), 31);
  await answer(singleArtist(released), 1);
  await answer(singleArtist(odd), 1);
  await call(sql, 'hold_identity', { library_id: held, reason: 'for now' });
  await call(sql, 'release_identity', { library_id: released, reason: 'wrong homonym' });
  await sql`update wxyc_schema.library_identity set last_verified_at = clock_timestamp() + interval '2 days'
    where library_id = ${odd}`;

  const counts = await counted(sql);
  expect(counts).toEqual({
    rows: 11,
    due: 5,
    due_by_reason: { never_asked: 1, released: 1, renamed: 0, stale: 2, in_vain: 1 },
    fresh: 1,
    waiting: 2,
    held: 1,
    not_canonical: 1,
    not_on_discogs: 0,
    no_name: 1,
    identified: 3,
    unknown_age: 1,
  });
  expect(STATES.reduce((sum, state) => sum + counts[state], 0)).toBe(counts.rows);
  expect(counts.due).toBe((await candidates(sql)).length);
});

test('an empty catalogue has every key, at 0', async ({ database: { sql } }) => {
  const { due_by_reason, ...counts } = await counted(sql);
  expect(new Set([...Object.values(counts), ...Object.values(due_by_reason)])).toEqual(new Set([0]));
});

test('days that are none are refused', async ({ database: { sql } }) => {
  await expect(sql`select identity_sync_private.count_catalogue(-1, 30, false)`).rejects.toMatchObject({
    code: 'LS001',
  });
});
