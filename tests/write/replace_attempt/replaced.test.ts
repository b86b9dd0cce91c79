// A release and a poison input override any answer, however new its attempt.
import { expect, test } from 'vitest';
import { DILATE, MONDAY, SANGOMA, TUESDAY, useWriter, WEDNESDAY } from '../../support/writer.js';

const writer = useWriter();

async function replace(outcome: string, attemptedAt: Date, settlementId: number | null) {
  await writer.sql`
    select identity_sync_private.replace_attempt(${DILATE}, ${outcome}, ${attemptedAt}, ${settlementId})`;
  const rows = await writer.sql`
    select library_id, outcome, attempted_at, settlement_id::integer from identity_sync.attempt order by library_id`;
  return [...rows];
}

test('a library without an attempt gets one', async () => {
  expect(await replace('poison_input', MONDAY, 41)).toEqual([
    { library_id: DILATE, outcome: 'poison_input', attempted_at: MONDAY, settlement_id: 41 },
  ]);
});

test.each([MONDAY, WEDNESDAY])('one of Tuesday is replaced by one of %s', async (attemptedAt) => {
  await replace('unresolved', TUESDAY, 41);
  expect(await replace('poison_input', attemptedAt, 42)).toEqual([
    { library_id: DILATE, outcome: 'poison_input', attempted_at: attemptedAt, settlement_id: 42 },
  ]);
});

test('where no settlement is named, that of the attempt before stays', async () => {
  await replace('unresolved', TUESDAY, 41);
  expect(await replace('released', WEDNESDAY, null)).toEqual([
    { library_id: DILATE, outcome: 'released', attempted_at: WEDNESDAY, settlement_id: 41 },
  ]);
});

test('the attempt of another library stays as it is', async () => {
  const other = { library_id: SANGOMA, outcome: 'unresolved', attempted_at: TUESDAY, settlement_id: 41 };
  await writer.sql`insert into identity_sync.attempt ${writer.sql(other)}`;
  expect(await replace('released', WEDNESDAY, null)).toContainEqual(other);
});
