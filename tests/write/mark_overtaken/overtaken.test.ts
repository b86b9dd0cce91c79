// What an old answer does not know says nothing about an identity that is newer.
import { beforeEach, expect, test } from 'vitest';
import { arrayOf } from '../../support/composites.js';
import {
  DILATE,
  MONDAY,
  SANGOMA,
  singleArtist,
  TUESDAY,
  useWriter,
  WEDNESDAY,
} from '../../support/writer.js';

const writer = useWriter();

beforeEach(async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY });
});

/** The outcome of a verdict on a library, once it is compared with the identity there. */
async function mark(outcome: string, library_id: number | null, verifiedAt: Date): Promise<string[]> {
  const { sql } = writer;
  const verdicts = arrayOf(sql, 'judged_verdict', [{ ordinal: 1, library_id, outcome }]);
  const rows = await sql<{ outcome: string }[]>`
    select outcome from unnest(identity_sync_private.mark_overtaken(${verdicts}, ${verifiedAt}))`;
  return rows.map((row) => row.outcome);
}

test.each(['unresolved', 'compilation'])('%s is stale where the identity is newer', async (outcome) => {
  expect(await mark(outcome, DILATE, MONDAY)).toEqual(['stale_verdict']);
});

test.each([TUESDAY, WEDNESDAY])('it stands where the identity is no newer: of %s', async (verifiedAt) => {
  expect(await mark('unresolved', DILATE, verifiedAt)).toEqual(['unresolved']);
});

test('it stands where there is no identity, or no library', async () => {
  expect(await mark('unresolved', SANGOMA, MONDAY)).toEqual(['unresolved']);
  expect(await mark('unresolved', null, MONDAY)).toEqual(['unresolved']);
});

test('verdicts stay as many as they were, in their order', async () => {
  const { sql } = writer;
  const verdicts = [SANGOMA, DILATE, SANGOMA].map((library_id, index) => ({
    ordinal: index + 1,
    library_id,
    outcome: 'unresolved',
  }));
  const rows = await sql`
    select ordinal, outcome
    from unnest(identity_sync_private.mark_overtaken(${arrayOf(sql, 'judged_verdict', verdicts)}, ${MONDAY}))
    order by ordinal`;
  expect([...rows]).toEqual([
    { ordinal: 1, outcome: 'unresolved' },
    { ordinal: 2, outcome: 'stale_verdict' },
    { ordinal: 3, outcome: 'unresolved' },
  ]);
});

test('there may be none', async () => {
  const [row] = await writer.sql`select identity_sync_private.mark_overtaken(null, ${MONDAY}) as verdicts`;
  expect(row!.verdicts ?? []).toEqual([]);
});
