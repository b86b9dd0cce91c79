// Which refusal a replayed verdict came from, while it is being replayed.
import { expect, test } from 'vitest';
import { DILATE, ERASER, MONDAY, SERVICE, TUESDAY, useWriter } from '../../support/writer.js';

const writer = useWriter();

const entry = (library_id: number | null, settlement_id: number, changes: Record<string, unknown> = {}) => ({
  ...{ library_id, settlement_id, outcome: 'invalid_verdict', reason: 'why', origin: SERVICE },
  ...{ verified_at: MONDAY, strict_bands: false, closed_at: new Date(Date.now() + 60_000) },
  ...{ closed_reason: 'replayed', ...changes },
});

test('the first one, of the same library, origin and time, and closed by this transaction', async () => {
  const { sql } = writer;
  await sql`insert into identity_sync.quarantined_verdict ${sql(
    [
      entry(DILATE, 1, { closed_at: new Date('2026-01-01') }),
      entry(DILATE, 2, { verified_at: TUESDAY }),
      entry(DILATE, 3, { origin: 'repair:ann' }),
      entry(DILATE, 4),
      entry(null, 5),
      // Of one answer, so that either may be the one.
      entry(null, 5),
    ].map((row) => ({ first_settlement_id: null, ...row })),
  )}`;
  await sql`update identity_sync.quarantined_verdict set first_settlement_id = 44 where settlement_id = 4`;
  const [found] = await sql`
    select
      identity_sync_private.replayed_settlement(${DILATE}, ${SERVICE}, ${MONDAY})::integer as named,
      identity_sync_private.replayed_settlement(null, ${SERVICE}, ${MONDAY})::integer as nameless,
      identity_sync_private.replayed_settlement(${ERASER}, ${SERVICE}, ${MONDAY})::integer as another`;
  expect(found).toEqual({ named: 44, nameless: 5, another: null });
});
