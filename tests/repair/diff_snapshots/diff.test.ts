// Two snapshots side by side: each column that differs, its old value beside the new one.
import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

async function diff(before: object, after: object) {
  const rows = await database.sql`
    select library_id, stored_row, column_name, old_value, new_value
    from identity_sync.diff_snapshots(
      ${JSON.stringify(before)}::text::jsonb, ${JSON.stringify(after)}::text::jsonb
    )`;
  return rows.map((row) => Object.values(row));
}

const row = { method: 'exact_match', confidence: 1, wikidata_qid: null };

test('equal snapshots differ in nothing', async () => {
  expect(await diff({ 5: { identity: row } }, { 5: { identity: row } })).toEqual([]);
  expect(await diff({}, {})).toEqual([]);
});

test('each column that differs is a line, in the order of records, rows and columns', async () => {
  const before = { 12: { identity: row, 'source discogs': { external_id: '1' } }, 5: { identity: row } };
  const after = {
    12: { identity: { ...row, method: 'manual', confidence: 0.9 }, 'source discogs': { external_id: '2' } },
    5: { identity: { ...row, wikidata_qid: 'Q1' } },
  };
  expect(await diff(before, after)).toEqual([
    [5, 'identity', 'wikidata_qid', null, 'Q1'],
    [12, 'identity', 'confidence', '1', '0.9'],
    [12, 'identity', 'method', 'exact_match', 'manual'],
    [12, 'source discogs', 'external_id', '1', '2'],
  ]);
});

test('a row that came has no old values, a row that went no new ones', async () => {
  expect(await diff({ 5: {} }, { 5: { identity: row } })).toEqual([
    [5, 'identity', 'confidence', null, '1'],
    [5, 'identity', 'method', null, 'exact_match'],
  ]);
  expect(await diff({ 5: { identity: row } }, {})).toEqual([
    [5, 'identity', 'confidence', '1', null],
    [5, 'identity', 'method', 'exact_match', null],
  ]);
});
