// When is a row asked again? Each story leaves a mark of some age on a record of its own, through the functions that
// leave such marks, and then looks whether a run would ask for it.
import { beforeAll, describe, expect, test } from 'vitest';
import {
  answerOf,
  call,
  candidates,
  claim,
  credit,
  plan,
  settle,
  shelve,
  shelveAll,
  verdict,
} from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const SERVICE = 'consumer:lml-bulk';
const REPAIR = 'repair:music director';
const REFUSED_BY_THE_DATABASE = 666;

const database = useDatabase();

beforeAll(async () => {
  await database.sql.unsafe(`
    alter table wxyc_schema.library_identity
      add constraint somebody_elses check (discogs_artist_id <> ${REFUSED_BY_THE_DATABASE})`);
});

type Leave = (id: number, age: string) => Promise<unknown>;

const outcomes: [outcome: string, lasts: 'stale' | 'retry', leave: Leave][] = [
  ['an identity written', 'stale', (id, age) => applied(id, [verdict.resolved(id)], age)],
  [
    'an identity confirmed',
    'stale',
    async (id, age) => {
      await applied(id, [verdict.resolved(id)], '400 days');
      await applied(id, [verdict.resolved(id)], age);
    },
  ],
  ['an identity set by hand', 'stale', (id, age) => applied(id, [verdict.resolved(id)], age, REPAIR)],
  ['unresolved', 'retry', (id, age) => applied(id, [verdict.unresolved(id)], age)],
  [
    'unresolved, over an old identity',
    'retry',
    async (id, age) => {
      await applied(id, [verdict.resolved(id)], '400 days');
      await applied(id, [verdict.unresolved(id)], age);
    },
  ],
  ['a compilation, not visited', 'retry', (id, age) => applied(id, [verdict.compilation(id)], age)],
  [
    'a compilation, visited',
    'retry',
    (id, age) => {
      const visited = { ...verdict.compilation(id), tracks_attempted: true, tracks: [] };
      return applied(id, [visited], age, SERVICE, 1);
    },
  ],
  ['invalid_verdict', 'retry', (id, age) => applied(id, [verdict.invalid(id)], age)],
  ['writer_error', 'retry', (id, age) => applied(id, [verdict.resolved(id, REFUSED_BY_THE_DATABASE)], age)],
  ['poison_input', 'retry', (id, age) => marked(id, 'poison_input', age)],
  [
    'manual_precedence',
    'stale',
    async (id, age) => {
      await applied(id, [verdict.resolved(id)], '400 days', REPAIR);
      await applied(id, [verdict.resolved(id, 55)], age);
    },
  ],
];

describe.each([
  { said: 'by default', parameters: {}, days: { stale: 7, retry: 30 } },
  {
    said: 'with other parameters',
    parameters: { stale_days: 45, unresolved_retry_days: 3 },
    days: { stale: 45, retry: 3 },
  },
])('$said', ({ parameters, days }) => {
  test.each(outcomes)(
    '%s holds for the days of "%s", to the minute, and no longer',
    async (_, lasts, leave) => {
      const fresh = await shelve(database.sql, 'Juana Molina');
      const over = await shelve(database.sql, 'Juana Molina');

      await leave(fresh, `${days[lasts]} days -1 minute`);
      await leave(over, `${days[lasts]} days`);

      expect(await isDue(fresh, parameters)).toBe(false);
      expect(await isDue(over, parameters)).toBe(true);
    },
  );
});

test('with 0 days everything that was asked is due again at once', async () => {
  const resolved = await shelve(database.sql, 'Autechre');
  const unresolved = await shelve(database.sql, 'Pedro the Lion');
  await applied(resolved, [verdict.resolved(resolved)], '0 days');
  await applied(unresolved, [verdict.unresolved(unresolved)], '0 days');

  expect(await isDue(resolved, { stale_days: 0 })).toBe(true);
  expect(await isDue(unresolved, { unresolved_retry_days: 0 })).toBe(true);
});

const unmarked: [outcome: string, leave: (id: number) => Promise<unknown>][] = [
  [
    'the database could not, to the end',
    (id) =>
      failedBatch(id, (batchId) =>
        call(database.sql, 'fail_identity_batch', {
          batch_id: batchId,
          failure: 'disk full',
          counted_as: 'writer_error',
        }),
      ),
  ],
  [
    'a call that failed',
    (id) => failedBatch(id, (batchId) => settle(database.sql, batchId, { status: 500 })),
  ],
  [
    'a text that is no answer',
    (id) =>
      call(database.sql, 'apply_identity_response', {
        body: '<html>Bad Gateway</html>',
        requested: [id],
        origin: SERVICE,
      }),
  ],
  ['an answer that lacks it', (id) => applied(id, [], '0 days')],
  [
    'a verdict older than its identity',
    async (id) => {
      await applied(id, [verdict.resolved(id)], '8 days');
      await applied(id, [verdict.resolved(id, 55)], '9 days');
    },
  ],
  [
    'an attempt older than its identity',
    async (id) => {
      await applied(id, [verdict.resolved(id)], '8 days');
      await applied(id, [verdict.unresolved(id)], '9 days');
    },
  ],
  [
    'an answer to a call that did not ask for it',
    async (id) => {
      const asked = await shelve(database.sql, 'Autechre');
      await applied(asked, [verdict.resolved(asked), verdict.unresolved(id)], '0 days');
    },
  ],
];

test.each(unmarked)('%s leaves no mark: the row is due in the next run', async (_, leave) => {
  const id = await shelve(database.sql, 'Jessica Pratt');
  await leave(id);

  expect(await isDue(id)).toBe(true);
  expect(await database.sql`select from identity_sync.attempt where library_id = ${id}`).toHaveLength(0);
});

test('a later success lifts an attempt: from then on the identity counts', async () => {
  const id = await shelve(database.sql, 'Stereolab');
  await applied(id, [verdict.unresolved(id)], '9 days');
  expect(await isDue(id)).toBe(false);

  await applied(id, [verdict.resolved(id)], '8 days');
  expect(await isDue(id)).toBe(true);
});

test('an identity and a mark hold each on its own', async () => {
  const id = await shelve(database.sql, 'Cat Power');
  await applied(id, [verdict.resolved(id)], '10 days');
  await applied(id, [verdict.unresolved(id)], '8 days');

  expect(await isDue(id, { stale_days: 9, unresolved_retry_days: 7 })).toBe(true);
  expect(await isDue(id, { stale_days: 11, unresolved_retry_days: 7 })).toBe(false);
  expect(await isDue(id, { stale_days: 9, unresolved_retry_days: 9 })).toBe(false);
});

test('what a batch applied and what is due have nothing in common', async () => {
  const [resolved, unresolved, compilation, invalid, refused] = await shelveAll(
    database.sql,
    'Autechre',
    'Stereolab',
    'Cat Power',
    'Sessa',
    'Untold Hits',
  );
  const ids = [resolved, unresolved, compilation, invalid, refused];
  const left = await shelve(database.sql, 'Never Asked');
  const claimed = await claim(database.sql, await plan(database.sql, { scope: 'ids', ids }));
  await settle(database.sql, claimed.batch_id, {
    body: answerOf([
      verdict.resolved(resolved),
      verdict.unresolved(unresolved),
      verdict.compilation(compilation),
      verdict.invalid(invalid),
      verdict.resolved(refused, REFUSED_BY_THE_DATABASE),
    ]),
  });

  expect(await candidates(database.sql, { ids: [...ids, left] })).toEqual([left]);
});

describe('which rows are in question at all', () => {
  test('a canonicalized row that was never asked is', async () => {
    expect(await isDue(await shelve(database.sql, 'Chuquimamani-Condori'))).toBe(true);
  });

  test('a row without a canonical entity is with include_null_canonical only, and there its mark holds too', async () => {
    const demo = { artist: 'Accidental Heroes', canonical: false };
    const never = await shelve(database.sql, demo);
    const lately = await shelve(database.sql, demo);
    const longAgo = await shelve(database.sql, demo);
    await applied(lately, [verdict.unresolved(lately)], '29 days');
    await applied(longAgo, [verdict.unresolved(longAgo)], '30 days');

    const among = { ids: [never, lately, longAgo] };
    expect(await candidates(database.sql, among)).toEqual([]);
    expect(await candidates(database.sql, { ...among, include_null_canonical: true })).toEqual([
      never,
      longAgo,
    ]);
  });

  test('a row without a canonical entity that has an identity is, lest the identity go stale', async () => {
    const id = await shelve(database.sql, { artist: 'Duke Ellington', canonical: false });
    await applied(id, [verdict.resolved(id)], '8 days');
    expect(await isDue(id)).toBe(true);
  });
});

describe('a released row', () => {
  const before: [string, Leave][] = [
    ['a fresh identity', (id) => applied(id, [verdict.resolved(id)], '1 day')],
    ['a hold by hand', (id) => applied(id, [verdict.resolved(id)], '1 day', REPAIR)],
    ['an answer without an identity', (id) => applied(id, [verdict.unresolved(id)], '1 day')],
    ['no canonical entity', async () => {}],
  ];

  test.each(before)('is due until it is answered, in spite of %s', async (_, leave) => {
    const id = await shelve(database.sql, { artist: 'Hermanos Gutiérrez', canonical: false });
    await leave(id, '');
    expect(await isDue(id)).toBe(false);

    await marked(id, 'released', '0 days');
    expect(await isDue(id)).toBe(true);

    await applied(id, [verdict.unresolved(id)], '0 days');
    expect(await isDue(id)).toBe(false);
  });

  test('stays due while LML fails', async () => {
    const id = await shelve(database.sql, { artist: 'Nilüfer Yanya', canonical: false });
    await marked(id, 'released', '0 days');
    await failedBatch(id, (batchId) => settle(database.sql, batchId, { status: 503 }));
    expect(await isDue(id)).toBe(true);
  });

  test('is due in its own partition only', async () => {
    const id = await shelve(database.sql, { artist: 'Sessa', canonical: false });
    await marked(id, 'released', '0 days');
    expect(await isDue(id, { partition_index: id % 4, partition_count: 4 })).toBe(true);
    expect(await isDue(id, { partition_index: (id + 1) % 4, partition_count: 4 })).toBe(false);
  });
});

test.each([
  ['NULL', null],
  ['empty', ''],
  ['made of blanks', '  '],
  ['made of tabs and line ends', '\t\r\n'],
  ['an ideographic space', '\u3000'],
  ['made of non-breaking spaces', '\u00a0\u00a0'],
])('a row whose artist name is %s is never asked: LML would refuse its whole batch', async (_, artist) => {
  const id = await shelve(database.sql, { artist });
  await credit(database.sql, id, 'Stereolab');

  for (const outcome of ['unresolved', 'released']) {
    await marked(id, outcome, '400 days');
    for (const scope of ['due', 'refresh', 'recheck', 'ids']) {
      expect(await isDue(id, { scope, include_null_canonical: true })).toBe(false);
    }
  }
});

async function isDue(id: number, parameters: Record<string, unknown> = {}): Promise<boolean> {
  return (await candidates(database.sql, { ...parameters, ids: [id] })).includes(id);
}

/** Applies an answer to a call that asked for this record alone, as it came so long ago. */
async function applied(id: number, results: object[], age: string, origin = SERVICE, version?: number) {
  const response = JSON.stringify({ results, tracks_contract_version: version });
  await database.sql`
    select from identity_sync.apply_identity_verdicts(
      response => ${response}::text::jsonb, requested => ${[id]},
      origin => ${origin}, verified_at => clock_timestamp() - ${age}::interval)`;
}

/** Leaves an attempt that no answer made. */
async function marked(id: number, outcome: string, age: string) {
  await database.sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    values (${id}, ${outcome}, clock_timestamp() - ${age}::interval)
    on conflict (library_id) do update set outcome = excluded.outcome, attempted_at = excluded.attempted_at`;
}

/** Claims a record alone, and lets its batch fail. */
async function failedBatch(id: number, fail: (batchId: string) => Promise<unknown>) {
  const claimed = await claim(database.sql, await plan(database.sql, { scope: 'ids', ids: [id] }));
  await fail(claimed.batch_id);
}
