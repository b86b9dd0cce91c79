// An operator leaves a transaction open: what it holds waits, and everything else goes on.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadIdentities, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { candidates, verdict } from '../support/catalogue.js';
import { killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, connect, type TestDatabase } from '../support/database.js';
import { identified, reportOf, runOf, shelveMany } from '../support/faults.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
let ids: number[];

beforeEach(async () => {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
  ids = await shelveMany(database.sql, 40);
});
afterEach(async () => {
  await killLeftovers();
  await lml.close();
  await database.drop();
});

test.each(['1', '4'])(
  'with %s lanes: the run writes all other rows, and its last answer once they are free',
  async (lanes) => {
    const operator = connect(database.url);
    await operator`begin`;
    await operator`
    select identity_sync.apply_identity_verdicts(${operator.json([verdict.resolved(ids[0]!)] as never)})`;

    const running = startCli(['run'], {
      DATABASE_URL: database.url,
      LIBRARY_METADATA_URL: lml.url,
      BATCH_SIZE: '2',
      LML_CONCURRENCY: lanes,
    });
    await expect.poll(() => identified(database.sql)).toEqual(ids.slice(2));
    await expect
      .poll(() => database.sql`select from identity_sync.batch where answer is not null`)
      .toHaveLength(1);
    expect(await runOf(database.sql)).toMatchObject({ finished_at: null });
    await operator`commit`;

    const ended = await running.ended;
    expect(ended.status).toBe(0);
    expect([...lml.askedIds().values()]).toEqual(ids.map(() => 1));
    expect(await reportOf(database.sql)).toMatchObject({
      scanned: 40,
      rows_resolved: 39,
      rows_skipped: { manual_precedence: 1 },
      lml_total_calls: 20,
    });
    expect(await candidates(database.sql)).toEqual([]);
    expect(logOf(ended).map(({ msg }) => msg)).toContainEqual(
      expect.stringContaining('is applied as soon as its rows are free'),
    );
  },
);
