import { expect, test } from 'vitest';
import { answerOf, claim, plan, settle, shelveAll, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test('counts by reason what LML should not have sent, and nothing that is in order', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa', 'Cat Power');
  const breachesOf = async (results: object[]) => {
    const runId = await plan(database.sql, { scope: 'ids', ids });
    const { batch_id } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: answerOf(results) });
    const [row] = await database.sql`select identity_sync_private.contract_breaches(${batch_id}) as breaches`;
    return row!.breaches;
  };
  const [autechre, stereolab, sessa, catPower] = ids;

  expect(
    await breachesOf([
      ...[verdict.invalid(autechre), verdict.invalid(stereolab), verdict.resolved(sessa)],
      verdict.resolved(987654321),
    ]),
  ).toEqual({ invalid_verdict: 2, lml_cardinality_mismatch: 1, lml_untrusted_library_id: 1 });
  expect(
    await breachesOf([
      ...[verdict.resolved(autechre), verdict.unresolved(stereolab)],
      ...[verdict.compilation(sessa), verdict.unresolved(catPower)],
    ]),
  ).toBeNull();
});
