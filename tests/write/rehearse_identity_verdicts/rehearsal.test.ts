// A dry run of the writer: the same report and the same errors, and nothing is left behind.
import { expect, test } from 'vitest';
import { shelveAll, verdict } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

/** Calls the writer or its dry run with these arguments. */
async function reportOf(
  writer: string,
  response: unknown,
  requested: number[] | null,
  origin: string | null,
) {
  const [row] = await database.sql`
    select ${database.sql(writer)}(${JSON.stringify(response)}::text::jsonb, ${requested}::integer[], ${origin}) as report`;
  return row!.report;
}

const WRITER = 'identity_sync.apply_identity_verdicts';
const DRY_RUN = 'identity_sync_private.rehearse_identity_verdicts';

test('gives the report that the writer then gives, and writes nothing', async () => {
  const ids = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
  const [autechre, stereolab, sessa] = ids;
  const results = [verdict.resolved(autechre), verdict.unresolved(stereolab), verdict.invalid(sessa)];

  const foretold = await reportOf(DRY_RUN, { results }, ids, 'consumer:lml-bulk');
  const written = await database.sql`
    select library_id from wxyc_schema.library_identity
    union all select library_id from identity_sync.attempt
    union all select library_id from identity_sync.quarantined_verdict
    union all select requested from identity_sync.settlement`;

  expect([...written]).toEqual([]);
  expect(foretold).toMatchObject({ scanned: 3, rows_resolved: 1, rows_unresolved: 1 });
  expect(await reportOf(WRITER, { results }, ids, 'consumer:lml-bulk')).toEqual(foretold);
});

test.each<[string, string, unknown, string | null]>([
  ['LS001', 'an origin that is not allowed', [], 'typo'],
  ['LS003', 'no answer of LML', { nonsense: 1 }, null],
])("passes the writer's own errors on: %s, %s", async (code, _, response, origin) => {
  await expect(reportOf(WRITER, response, null, origin)).rejects.toMatchObject({ code });
  await expect(reportOf(DRY_RUN, response, null, origin)).rejects.toMatchObject({ code });
});
