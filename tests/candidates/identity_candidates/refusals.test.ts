// A parameter out of range is refused in the same words by each function that takes it, and no run is opened.
import { beforeAll, describe, expect, test } from 'vitest';
import { call, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

beforeAll(() => shelve(database.sql, 'Autechre'));

const refusals: [Record<string, unknown>, message: string, hint: RegExp][] = [
  [{ scope: 'everything' }, "scope is 'everything'", /due, refresh, recheck, ids/],
  [{ scope: 'DUE' }, "scope is 'DUE'", /due, refresh, recheck, ids/],
  [{ scope: '' }, "scope is ''", /due, refresh, recheck, ids/],
  [{ scope: null }, 'scope is NULL', /due, refresh, recheck, ids/],
  [{ scope: 'ids' }, 'scope is ids, and ids is NULL', /ids => array\[1, 2, 3\]/],
  [{ stale_days: -1 }, 'stale_days is -1', /0 to 1000000 days/],
  [{ stale_days: null }, 'stale_days is NULL', /0 to 1000000 days/],
  [{ stale_days: 3_000_000 }, 'stale_days is 3000000', /0 to 1000000 days/],
  [{ unresolved_retry_days: 2_147_483_647 }, 'unresolved_retry_days is 2147483647', /0 to 1000000 days/],
  [{ unresolved_retry_days: -3 }, 'unresolved_retry_days is -3', /0 to 1000000 days/],
  [{ unresolved_retry_days: null }, 'unresolved_retry_days is NULL', /0 to 1000000 days/],
  [{ partition_index: -1, partition_count: 4 }, 'partition is -1/4', /0 <= partition_index/],
  [{ partition_index: 4, partition_count: 4 }, 'partition is 4/4', /0 <= partition_index/],
  [{ partition_index: 1 }, 'partition is 1/1', /0 <= partition_index/],
  [{ partition_count: 0 }, 'partition is 0/0', /0 <= partition_index/],
  [{ partition_count: 1025 }, 'partition is 0/1025', /<= 1024/],
  [{ partition_index: null }, 'partition is NULL/1', /0 <= partition_index/],
  [{ partition_count: null }, 'partition is 0/NULL', /0 <= partition_index/],
];

describe.each(['identity_candidates', 'plan_identity_run'])('%s', (asked) => {
  test.each(refusals)('refuses %j', async (parameters, message, hint) => {
    await expect(call(database.sql, asked, parameters)).rejects.toMatchObject({
      code: 'LS001',
      message,
      hint: expect.stringMatching(hint),
    });
    expect(await database.sql`select from identity_sync.run`).toHaveLength(0);
    expect(await database.sql`select from graphile_worker.jobs`).toHaveLength(0);
  });
});

test.each<[Record<string, unknown>, string]>([
  [{ batch_size: 0 }, 'batch_size is 0'],
  [{ batch_size: 1001 }, 'batch_size is 1001'],
  [{ batch_size: null }, 'batch_size is NULL'],
  [{ va_batch_size: 0 }, 'va_batch_size is 0'],
  [{ va_batch_size: 1001 }, 'va_batch_size is 1001'],
  [{ va_batch_size: null }, 'va_batch_size is NULL'],
  [{ lanes: 0 }, 'lanes is 0'],
  [{ lanes: 33 }, 'lanes is 33'],
  [{ lanes: null }, 'lanes is NULL'],
])('plan_identity_run refuses %j', async (parameters, message) => {
  await expect(call(database.sql, 'plan_identity_run', parameters)).rejects.toMatchObject({
    code: 'LS001',
    message,
    hint: expect.stringContaining('Allowed: '),
  });
  expect(await database.sql`select from identity_sync.run`).toHaveLength(0);
  expect(await database.sql`select from graphile_worker.jobs`).toHaveLength(0);
});
