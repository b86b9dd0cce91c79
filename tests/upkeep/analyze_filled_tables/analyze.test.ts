// A large run leaves statistics behind that the next plan can rely on, be autovacuum off or late.
import { expect } from 'vitest';
import { call } from '../../support/catalogue.js';
import { test } from '../../support/statistics.js';

test('a table is analyzed once a tenth and a thousand of its rows have changed, and others are left alone', async ({
  database,
  filled,
}) => {
  const { fill, known } = filled;
  const { attempt } = await known();
  await fill(1500, 900);

  await expect
    .poll(
      async () => {
        await call(database.sql, 'analyze_filled_tables');
        return known();
      },
      { interval: 500 },
    )
    .toEqual({ library_identity: 1500, attempt });
});

test('of a large table a thousand rows are no tenth', async ({ database, filled }) => {
  const { change, fill, known } = filled;
  const analyzed = async () => {
    await call(database.sql, 'analyze_filled_tables');
    return known();
  };
  await fill(0, 20_000);
  await expect.poll(analyzed, { interval: 500 }).toMatchObject({ attempt: 20_000 });

  // PostgreSQL 14 hands out what it counted half a second ago.
  await expect
    .poll(
      () => database.sql`
        select n_mod_since_analyze::integer as changed from pg_stat_user_tables
        where relid = 'identity_sync.attempt'::regclass`,
      { interval: 100 },
    )
    .toEqual([{ changed: 0 }]);

  await change((sql) => sql`delete from identity_sync.attempt where library_id <= 1500`);
  await fill(1500, 0);
  await expect.poll(analyzed, { interval: 500 }).toEqual({ library_identity: 1500, attempt: 20_000 });
});
