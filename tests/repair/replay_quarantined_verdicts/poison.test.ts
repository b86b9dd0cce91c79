// Replaying a poison input, of which no verdict is there to judge again.
import { expect, test } from 'vitest';
import { DILATE, MONDAY, SERVICE, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('makes its library due, and its attempt still names the settlement that found the poison', async () => {
  const { sql } = writer;
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at, settlement_id)
    values (${DILATE}, 'poison_input', ${MONDAY}, 77)`;
  await sql`
    insert into identity_sync.quarantined_verdict
      (settlement_id, library_id, outcome, reason, origin, verified_at, strict_bands)
    values (77, ${DILATE}, 'poison_input', 'HTTP 422', ${SERVICE}, ${MONDAY}, false)`;

  const [row] = await sql`select identity_sync.replay_quarantined_verdicts() as report`;

  expect(row!.report).toMatchObject({ replayed: 0, made_due: 1, never_replayed: 0 });
  const attempts = await sql`select library_id, outcome, settlement_id::integer from identity_sync.attempt`;
  expect([...attempts]).toEqual([{ library_id: DILATE, outcome: 'released', settlement_id: 77 }]);
});
