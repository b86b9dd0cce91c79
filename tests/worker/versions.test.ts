// A worker and its database are of one age, or the worker says so and touches nothing.
import { expect } from 'vitest';
import { logOf } from '../support/cli.js';
import { shelveMany } from '../support/faults.js';
import { test } from '../support/test.js';

test.for([
  [
    'newer',
    `insert into graphile_migrate.migrations (hash, previous_hash, filename)
     select 'sha1:of-a-later-day', max(hash), '000099-of-a-later-day.sql' from graphile_migrate.migrations`,
    /^identity-sync: the database \w+ is newer than this program: it has 000099-of-a-later-day\.sql/,
  ],
  [
    'older',
    `delete from graphile_migrate.migrations
     where filename = (select max(filename) from graphile_migrate.migrations)`,
    /^identity-sync: the database \w+ is older than this program: it lacks 1 of its migrations/,
  ],
] as const)(
  'a worker refuses a database that is %s than its program, in words, and makes no call',
  async ([, change, words], { database, lml, cli }) => {
    await shelveMany(database.sql, 1);
    await database.sql.unsafe(change);
    const ended = await cli.run(['worker'], { PLAN_CRON: '* * * * *' });
    expect(ended.status).toBe(1);
    expect(logOf(ended).at(-1)!.msg).toMatch(words);
    expect(lml.calls).toEqual([]);
    expect(await database.sql`select from identity_sync.worker`).toHaveLength(0);
    expect(await database.sql`select from identity_sync.run`).toHaveLength(0);
  },
);
