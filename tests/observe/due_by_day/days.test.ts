// The days to come: a row counts on the day on which a run would first ask for it.
import { expect } from 'vitest';
import { answerOf, call, candidates, plan, shelveAll, verdict } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('a row counts once, on the day on which it becomes due', async ({ database: { sql } }) => {
  const [stale, overdue, unresolved, held, both, ...rest] = await shelveAll(
    sql,
    ...['Autechre', 'Stereolab', 'Sessa', 'Juana Molina', 'Chuquimamani-Condori', 'Cat Power'],
  );
  const body = answerOf([
    ...[stale, overdue, held, both].map((id) => verdict.resolved(id)),
    verdict.unresolved(unresolved),
  ]);
  await call(sql, 'apply_identity_response', {
    body,
    requested: [stale, overdue, unresolved, held, both],
    origin: 'consumer:lml-bulk',
  });
  await call(sql, 'apply_identity_response', {
    body: answerOf([verdict.unresolved(both)]),
    requested: [both],
    origin: 'consumer:lml-bulk',
  });
  await call(sql, 'hold_identity', { library_id: held, reason: 'right as it is' });
  await sql`
    update wxyc_schema.library_identity
    set last_verified_at = last_verified_at - case library_id when ${stale} then interval '5 days' else interval '9 days' end
    where library_id <> ${held}`;
  await sql`update identity_sync.attempt set attempted_at = attempted_at - interval '20 days' where outcome = 'unresolved'`;
  expect(await candidates(sql)).toEqual([overdue, ...rest].sort((one, other) => one - other));

  const [row] = await sql`select identity_sync_private.due_by_day(7, 30, false, 28) as days`;
  const days = row!.days as { day: string; stale: number; in_vain: number }[];
  expect(days).toHaveLength(28);
  const within = (key: 'stale' | 'in_vain') => days.flatMap((day, index) => Array(day[key]).fill(index));
  // What a person has set is asked about, too, and left as it is.
  expect(within('stale')).toEqual([2, 7]);
  // Unresolved, and unresolved though there is an identity.
  expect(within('in_vain')).toEqual([10, 10]);
});

test('an empty catalogue has the days too', async ({ database: { sql } }) => {
  await plan(sql);
  const [row] = await sql`select identity_sync_private.due_by_day(7, 30, false, 3) as days`;
  expect(row!.days).toMatchObject([{ stale: 0, in_vain: 0 }, {}, {}]);
});

test('a compilation whose tracks could not be read is due as soon as an identity', async ({
  database: { sql },
}) => {
  const [library] = await shelveAll(sql, 'Autechre');
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    values (${library}, 'compilation_unread', now())`;
  const [row] = await sql`select identity_sync_private.due_by_day(1, 30, false, 3) as days`;
  expect(row!.days).toMatchObject([{ in_vain: 0 }, { in_vain: 1 }, { in_vain: 0 }]);
});
