// PgBouncer between this program and its database, in the modes that the README promises.
import { afterAll, describe, expect } from 'vitest';
import { connectDatabase } from '../../src/database/connect.js';
import { identified, runOf, shelveMany } from '../support/faults.js';
import { findPgBouncer } from '../support/pgbouncer.js';
import { test } from '../support/test.js';

const bouncer = await findPgBouncer();
afterAll(() => bouncer?.end());

describe.skipIf(bouncer === null)(
  `PgBouncer${bouncer === null ? ' (skipped: it cannot be had here)' : ''}`,
  () => {
    test('in session mode carries migrate, a run and a worker', async ({ cli, database }) => {
      const DATABASE_URL = await bouncer!.through(database.url, 'session');
      expect(await cli.run(['migrate'], { DATABASE_URL })).toMatchObject({ status: 0 });
      const ids = await shelveMany(database.sql, 20);
      expect(await cli.run(['run'], { DATABASE_URL, BATCH_SIZE: '5' })).toMatchObject({ status: 0 });
      expect(await identified(database.sql)).toEqual(ids);

      await database.sql`update wxyc_schema.library_identity set last_verified_at = now() - interval '30 days'`;
      const worker = await cli.worker({ DATABASE_URL });
      await database.sql`select identity_sync.plan_identity_run()`;
      await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('completed');
      worker.signal('SIGTERM');
      expect(await worker.endsWithin(15_000)).toMatchObject({ status: 0 });
    });

    test('in transaction mode carries what an operator does', async ({ cli, database }) => {
      const DATABASE_URL = await bouncer!.through(database.url, 'transaction');
      const [id] = await shelveMany(database.sql, 1);
      const [replayed, released] = await Promise.all([
        cli.run(['replay'], { DATABASE_URL }),
        cli.run(['release', String(id), '--reason', 'a test'], { DATABASE_URL }),
      ]);
      expect(replayed).toMatchObject({ status: 0 });
      expect(released.stderr).not.toMatch(/startup|prepared statement/);

      // A query of every session meets server sessions that others have used.
      const sql = connectDatabase(DATABASE_URL, 4);
      const known = Array.from(
        { length: 40 },
        () => sql`
      select missing from identity_sync.missing_migrations(known => ${['one', 'two']}) as missing`,
      );
      expect((await Promise.all(known)).map(([row]) => row!.missing)).toEqual(Array(40).fill(2));
      await sql.end();
    });
  },
);
