// What PostgreSQL cannot read, for whatever reason, costs the row that it is about: the batch is cut until it is alone.
import { expect, test } from 'vitest';
import { type Came, call, plan, settle, tryToClaim, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';
import { shelveMany } from '../../support/faults.js';

const database = useDatabase();

const DEEP = 200_000;

test.each([
  ['nested more deeply than the stack allows', `"note":${'['.repeat(DEEP)}${']'.repeat(DEEP)}`],
  ['a text that is no JSON', '"note":NaN'],
  ['a result of more than 24 MB', `"note":"${'x'.repeat(24e6)}"`],
  ['a result that was not received, as it is too large', null],
])('one result of eight that cannot be read is poison, and the others are written: %s', async (_, note) => {
  const { sql } = database;
  const ids = await shelveMany(sql, 8);
  const culprit = ids[4]!;
  const run = await plan(sql, { scope: 'ids', ids });

  const outcomes: string[] = [];
  for (let calls = 0; calls < 40; calls++) {
    await sql`update identity_sync.batch set not_before = null where not_before is not null`;
    const claimed = await tryToClaim(sql, run);
    if (!claimed?.batch_id) break;
    const { inputs } = JSON.parse(claimed.request!) as { inputs: { library_id: number }[] };
    const isReceived = note !== null || inputs.every(({ library_id }) => library_id !== culprit);
    const results = inputs.map(({ library_id }) => {
      const text = JSON.stringify(verdict.resolved(library_id));
      return library_id === culprit ? `${text.slice(0, -1)},${note}}` : text;
    });
    const came: Came = isReceived
      ? { body: `{"results":[${results}]}` }
      : { failure: 'the answer has more than 24 MB' };
    outcomes.push(await settle(sql, claimed.batch_id, { ...came, maxTries: 3 }));
  }

  expect(outcomes).toContain('split');
  expect(outcomes).toContain('poison_input');
  const [report] = await call<{ identity_run_report: object }>(sql, 'identity_run_report', { run_id: run });
  expect(report!.identity_run_report).toMatchObject({
    scanned: 8,
    rows_resolved: 7,
    rows_skipped: { poison_input: 1, lml_error: 0 },
    failed_batches: 0,
  });
  const entries =
    await sql`select library_id, outcome from identity_sync.quarantine where library_id = any (${ids})`;
  expect([...entries]).toEqual([{ library_id: culprit, outcome: 'poison_input' }]);
});
