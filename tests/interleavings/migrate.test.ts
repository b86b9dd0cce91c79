// A deployer whose database is up to date, beside sessions that write: neither waits for the other.
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/commands/migrate.js';
import { DILATE, repair, SANGOMA, service, singleArtist, useWriter } from '../support/writer.js';

const writer = useWriter();

test('a migration with nothing to do passes an open repair, and a writer passes both', async () => {
  const [operator, worker] = [await writer.session(), await writer.session()];
  onTestFinished(async () => {
    await operator.sql`rollback`;
  });
  await operator.sql`begin`;
  await repair(operator.sql, [singleArtist(DILATE)]);

  await migrate(writer.url);
  expect(await service(worker.sql, [singleArtist(SANGOMA)])).toMatchObject({ rows_resolved: 1 });
});
