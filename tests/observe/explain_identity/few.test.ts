// What a person asks about one library reads what belongs to it, however many answers were written in years.
import { beforeAll, expect, test } from 'vitest';
import { fillAged } from '../../bench/aged.js';
import { useDatabase } from '../../support/database.js';
import { rowsRead } from '../../support/rows-read.js';

const database = useDatabase();

beforeAll(async () => {
  await fillAged(database.sql, { rows: 5000, runs: 40, keepDays: 2 });
}, 120_000);

test('explaining a library reads a few settlements a change', async () => {
  const { sql } = database;
  const [often] = await sql<[{ library_id: number }]>`
    select library_id from wxyc_schema.library_identity_history group by 1 order by count(*) desc, 1 limit 1`;
  const read = await sql.begin(async (transaction) => {
    const before = await rowsRead(transaction, ['settlement']);
    const [{ explained }] = await transaction<[{ explained: { timeline: unknown[] } }]>`
      select identity_sync.explain_identity(${often.library_id}) as explained`;
    expect(explained.timeline.length).toBeGreaterThan(5);
    return ((await rowsRead(transaction, ['settlement'])) - before) / explained.timeline.length;
  });
  // The settlement of a change is looked for among those of its night.
  expect(read).toBeLessThan(300);
});
